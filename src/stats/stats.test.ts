// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statsRuntime } from "../../test/fixtures/stats-runtime.ts";
import { FailedPreconditionError } from "../errors.ts";
import { NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { JsonText } from "../lib/json-text.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { openStats, type Stats } from "./stats.ts";

// A machine of plain folders with the files of cgroup v2.

let root: string;
let fixture: ReturnType<typeof statsRuntime>;
let stats: Stats;
let sandbox: SandboxRecord;
let container: ContainerRecord;

const { signal } = new AbortController();

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-stats-"));
  const controllers = ["cpu", "io", "memory", "pids"];
  fixture = statsRuntime({ version: "v2", controllers, hierarchies: [], unified: root }, root);
  stats = openStats(fixture.runtime);
  sandbox = fixture.addSandbox("aa", "/pods/aa");
  container = fixture.addContainer("ca", sandbox);
  writeCgroup("/pods/aa", { usageUsec: 9000, memory: 900_000 });
  writeCgroup("/pods/aa/pause", { usageUsec: 1000, memory: 100_000, procs: "11\n" });
  writeCgroup("/pods/aa/ca", { usageUsec: 5000, memory: 500_000, procs: "12\n13\n" });
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

interface Usage {
  readonly usageUsec: number;
  readonly memory: number;
  readonly limit?: number;
  readonly procs?: string;
}

function writeCgroup(path: string, { usageUsec, memory, limit, procs = "" }: Usage): void {
  const files = {
    "cpu.stat": `usage_usec ${usageUsec}\nuser_usec 1\nsystem_usec 2`,
    "memory.current": `${memory}`,
    "memory.max": `${limit ?? "max"}`,
    "memory.swap.current": "4096",
    "memory.swap.max": `${limit ?? "max"}`,
    "memory.stat": `anon ${memory / 2}\ninactive_file 1000\npgfault 7\npgmajfault 1`,
    "memory.events": "max 0\noom_kill 0",
    "pids.current": "5",
    "pids.max": "max",
    "cgroup.procs": procs,
  };
  mkdirSync(join(root, path), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, path, name), `${text}\n`);
}

async function listed<T>(items: AsyncIterable<T>): Promise<T[]> {
  return Array.fromAsync(items);
}

describe("of a running container", () => {
  test("everything is told that its cgroup and its layer tell", async () => {
    writeCgroup("/pods/aa/ca", { usageUsec: 5000, memory: 500_000, limit: 600_000 });
    fixture.written.set(container.id, { usedBytes: 12_288, inodesUsed: 3 });
    const before = BigInt(Date.now() - 1) * 1_000_000n;
    const found = await stats.container(container);
    expect(found).toMatchObject({
      attributes: {
        id: container.id,
        metadata: { name: "app-ca", attempt: 3 },
        labels: { app: "ca" },
        annotations: {},
      },
      cpu: { usageCoreNanoSeconds: { value: 5_000_000n } },
      memory: {
        usageBytes: { value: 500_000n },
        workingSetBytes: { value: 499_000n },
        availableBytes: { value: 101_000n },
        rssBytes: { value: 250_000n },
        pageFaults: { value: 7n },
        majorPageFaults: { value: 1n },
      },
      swap: { swapUsageBytes: { value: 4096n }, swapAvailableBytes: { value: 595_904n } },
      writableLayer: {
        fsId: { mountpoint: root },
        usedBytes: { value: 12_288n },
        inodesUsed: { value: 3n },
      },
    });
    const times = [found.cpu, found.memory, found.swap, found.writableLayer].map((part) => part?.timestamp);
    for (const time of times) expect(time).toBeGreaterThan(before);
    // Neither limited nor accounted for.
    expect(found.cpu?.usageNanoCores).toBeUndefined();
    expect(found.cpu?.psi).toBeUndefined();
    expect(found.io).toBeUndefined();
  });

  test("pressure is told where the kernel accounts for it", async () => {
    const line = (name: string, total: number) => `${name} avg10=1.50 avg60=0.25 avg300=0.01 total=${total}`;
    for (const [index, resource] of ["cpu", "memory", "io"].entries()) {
      const text = `${line("some", 7 + index)}\n${line("full", 4)}\n`;
      writeFileSync(join(root, `pods/aa/ca/${resource}.pressure`), text);
    }
    // Whether this machine's kernel does decides.
    const hasPressure = stats.metricDescriptors.some(({ name }) => name?.includes("_pressure_"));
    const found = await stats.container(container);
    const psi = (some: bigint) => ({
      Some: { Total: some, Avg10: 1.5, Avg60: 0.25, Avg300: 0.01 },
      Full: { Total: 4000n, Avg10: 1.5, Avg60: 0.25, Avg300: 0.01 },
    });
    if (!hasPressure) return expect(found.io).toBeUndefined();
    expect(found).toMatchObject({
      cpu: { psi: psi(7000n) },
      memory: { psi: psi(8000n) },
      io: { psi: psi(9000n) },
    });
    expect(found.io?.timestamp).toBeGreaterThan(0n);
  });

  test("without limits nothing is said of what is available", async () => {
    const { memory, swap } = await stats.container(container);
    expect(memory?.availableBytes).toBeUndefined();
    expect(swap?.swapAvailableBytes).toBeUndefined();
  });

  test("CPU time is of this very look, and its time moves on; the rest may be a moment old", async () => {
    const first = await stats.container(container);
    writeCgroup("/pods/aa/ca", { usageUsec: 6000, memory: 700_000 });
    const second = await stats.container(container);
    expect(second.cpu?.usageCoreNanoSeconds?.value).toBe(6_000_000n);
    expect(second.cpu?.timestamp).toBeGreaterThan(first.cpu?.timestamp as bigint);
    await Bun.sleep(300);
    expect((await stats.container(container)).memory?.usageBytes?.value).toBe(700_000n);
  });

  test("the rate is that between two looks, and unknown after one or when time runs backwards", async () => {
    const nanoCores = async () => (await stats.container(container)).cpu?.usageNanoCores?.value;
    const startedMs = performance.now();
    expect(await nanoCores()).toBeUndefined();
    await Bun.sleep(600);
    writeCgroup("/pods/aa/ca", { usageUsec: 305_000, memory: 2 });
    const rate = Number(await nanoCores());
    // 0.3 s of CPU time since the first look.
    const least = 300_000_000 / ((performance.now() - startedMs) / 1000);
    expect(rate).toBeGreaterThanOrEqual(Math.floor(least));
    expect(rate).toBeLessThan(510_000_000);
    // Right after a look there is no other rate.
    writeCgroup("/pods/aa/ca", { usageUsec: 306_000, memory: 2 });
    expect(Number(await nanoCores())).toBe(rate);
    writeCgroup("/pods/aa/ca", { usageUsec: 10, memory: 2 });
    expect(await nanoCores()).toBeUndefined();
  });

  test("nothing is kept once it is removed", async () => {
    await stats.container(container);
    await Bun.sleep(600);
    fixture.remove(container);
    writeCgroup("/pods/aa/ca", { usageUsec: 305_000, memory: 2 });
    expect((await stats.container(container)).cpu?.usageNanoCores).toBeUndefined();
  });
});

describe("of a container that does not run", () => {
  test("there is what it has written, and nothing else", async () => {
    const created = fixture.addContainer("cb", sandbox, { startedAtNs: undefined } as never);
    const exited = fixture.addContainer("cc", sandbox, { finishedAtNs: "6" });
    for (const record of [created, exited]) {
      const found = await stats.container(record);
      expect(found).toMatchObject({
        attributes: { id: record.id },
        writableLayer: { inodesUsed: { value: 1n } },
      });
      for (const part of [found.cpu, found.memory, found.swap, found.io]) expect(part).toBeUndefined();
    }
  });

  test("so it is for one whose cgroup has just gone", async () => {
    rmSync(join(root, "pods/aa/ca"), { recursive: true });
    const found = await stats.container(container);
    expect(found.attributes?.id).toBe(container.id);
    expect(found.cpu).toBeUndefined();
  });
});

describe("a list of containers", () => {
  test("has them in the order given, but none that is removed meanwhile", async () => {
    const other = fixture.addContainer("cb", sandbox, { finishedAtNs: "6" });
    const gone = fixture.addContainer("cc", sandbox);
    const items = stats.containers([other, gone, container], signal);
    const { value: first } = await items.next();
    expect(first?.attributes?.id).toBe(other.id);
    fixture.remove(gone);
    expect((await listed(items)).map(({ attributes }) => attributes?.id)).toEqual([container.id]);
  });

  test("ends when its caller has gone", async () => {
    const abort = new AbortController();
    const items = stats.containers([container, container], abort.signal);
    await items.next();
    abort.abort(new Error("gone"));
    await expect(items.next()).rejects.toThrow("gone");
  });
});

describe("of a pod", () => {
  test("there is what its cgroup tells, its network, its processes and its running containers", async () => {
    fixture.addContainer("cb", sandbox, { finishedAtNs: "6" });
    const found = await stats.sandbox(sandbox);
    expect(found).toMatchObject({
      attributes: {
        id: sandbox.id,
        metadata: { name: "pod-aa", uid: "uid-aa", namespace: "default", attempt: 0 },
        labels: { app: "aa" },
        annotations: { note: "aa" },
      },
      linux: {
        cpu: { usageCoreNanoSeconds: { value: 9_000_000n } },
        memory: { usageBytes: { value: 900_000n } },
        process: { processCount: { value: 3n } },
      },
    });
    const { linux } = found;
    expect(linux?.containers.map(({ attributes }) => attributes?.id)).toEqual([container.id]);
    expect(linux?.containers[0]?.cpu?.usageCoreNanoSeconds?.value).toBe(5_000_000n);
    // The pause of this pod is this process.
    expect(linux?.network?.timestamp).toBeGreaterThan(0n);
    expect(linux?.network?.interfaces.map(({ name }) => name)).not.toContain("lo");
    expect(found.windows).toBeUndefined();
  });

  test("in the host's network nothing is said of its traffic", async () => {
    const host = { linux: { securityContext: { namespaceOptions: { network: "NODE" } } } };
    expect(NamespaceMode.NODE).toBe(2);
    const other = fixture.addSandbox("ab", "/pods/ab", { config: new JsonText(host) });
    writeCgroup("/pods/ab", { usageUsec: 1, memory: 2 });
    expect((await stats.sandbox(other)).linux?.network).toBeUndefined();
    const [metrics] = await listed(stats.metrics([other], signal));
    expect(metrics?.metrics).toEqual([]);
  });

  test("that shares its parent cgroup with another, its members are added up", async () => {
    const other = fixture.addSandbox("ab", "/pods/aa", { cgroupPath: "/pods/aa/ab" });
    writeCgroup("/pods/aa/ab", { usageUsec: 70, memory: 80, procs: "14\n" });
    expect((await stats.sandbox(sandbox)).linux).toMatchObject({
      cpu: { usageCoreNanoSeconds: { value: 6_000_000n } },
      memory: { usageBytes: { value: 600_000n }, rssBytes: { value: 300_000n }, pageFaults: { value: 14n } },
      process: { processCount: { value: 3n } },
    });
    expect((await stats.sandbox(other)).linux).toMatchObject({
      cpu: { usageCoreNanoSeconds: { value: 70_000n } },
      process: { processCount: { value: 1n } },
    });
    // One that is not ready any more has nothing in the cgroup.
    fixture.addSandbox("ab", "/pods/aa", { end: { atNs: "3", reason: "stopped" } });
    expect((await stats.sandbox(sandbox)).linux?.cpu?.usageCoreNanoSeconds?.value).toBe(9_000_000n);
  });

  test("below the root of all cgroups its members are added up as well", async () => {
    const other = fixture.addSandbox("ab", "", { cgroupPath: "/ab" });
    writeCgroup("/ab", { usageUsec: 70, memory: 80, procs: "14\n" });
    expect((await stats.sandbox(other)).linux?.cpu?.usageCoreNanoSeconds?.value).toBe(70_000n);
  });

  test("that is not ready there is nothing to tell, and lists leave it out", async () => {
    const ended = fixture.addSandbox("ab", "/pods/ab", { end: { atNs: "3", reason: "stopped" } });
    await expect(stats.sandbox(ended)).rejects.toThrow(FailedPreconditionError);
    const found = await listed(stats.sandboxes([ended, sandbox], signal));
    expect(found.map(({ attributes }) => attributes?.id)).toEqual([sandbox.id]);
    expect((await listed(stats.metrics([ended, sandbox], signal))).map((pod) => pod.podSandboxId)).toEqual([
      sandbox.id,
    ]);
  });

  test("that ends meanwhile lists leave it out", async () => {
    const gone = fixture.addSandbox("ab", "/pods/ab");
    const dead = fixture.addSandbox("ad", "/pods/ad", { pause: { pid: process.pid, startTicks: "1" } });
    writeCgroup("/pods/ad", { usageUsec: 1, memory: 2 });
    const found = await listed(stats.sandboxes([gone, dead, sandbox], signal));
    expect(found.map(({ attributes }) => attributes?.id)).toEqual([sandbox.id]);
    expect(await listed(stats.metrics([dead], signal))).toEqual([]);
  });
});

// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { type ContainerStats, NamespaceMode, type PodSandboxStats } from "../../src/gen/runtime/v1/api_pb.ts";
import { cgroupDirectory, cgroupRow, cgroupText, cpuUsageNs } from "./harness/cgroup-files.ts";
import { outputOf } from "./harness/command.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { instanceOf } from "./harness/leftovers.ts";
import {
  containerPid,
  createContainer,
  pausePid,
  runContainer,
  runSandbox,
  sandboxStatus,
  secured,
  shellIn,
} from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

// What is asked of the daemon is compared with what the kernel's files say right before and right after.

const fixture = useDaemon();
const mebibyte = 1024n * 1024n;

async function containerStats(containerId: string): Promise<ContainerStats> {
  const { stats } = await fixture.daemon.api.containerStats({ containerId });
  if (stats === undefined) throw new Error("the answer has no stats");
  return stats;
}

async function sandboxStats(podSandboxId: string): Promise<PodSandboxStats> {
  const { stats } = await fixture.daemon.api.podSandboxStats({ podSandboxId });
  if (stats === undefined) throw new Error("the answer has no stats");
  return stats;
}

/** A container with limits beside the process namespace of its own. */
function limited(resources: object) {
  return { linux: { ...secured({}).linux, resources } } as ReturnType<typeof secured>;
}

async function codeOf(work: Promise<unknown>): Promise<Code | "OK"> {
  return work.then(
    () => "OK" as const,
    (error: unknown) => ConnectError.from(error).code,
  );
}

test("a container that burns a fifth of a processor", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "burner");
  const command = ["sh", "-c", "while :; do :; done"];
  const resources = { cpuQuota: 20_000n, cpuPeriod: 100_000n };
  const id = await runContainer(daemon, sandboxId, { name: "burner", command, ...limited(resources) });
  const pid = await containerPid(daemon, id);
  expect((await containerStats(id)).cpu?.usageNanoCores).toBeUndefined();
  await Bun.sleep(2000);
  const before = cpuUsageNs(pid);
  const { cpu } = await containerStats(id);
  const after = cpuUsageNs(pid);
  const usage = cpu?.usageCoreNanoSeconds?.value as bigint;
  expect(usage).toBeGreaterThanOrEqual(before);
  expect(usage).toBeLessThanOrEqual(after);
  // The kernel may grant less when others want the processors, but hardly more.
  expect(Number(cpu?.usageNanoCores?.value)).toBeGreaterThan(10_000_000);
  expect(Number(cpu?.usageNanoCores?.value)).toBeLessThan(300_000_000);

  const pod = await sandboxStats(sandboxId);
  const [member] = pod.linux?.containers ?? [];
  expect(pod.linux?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThanOrEqual(
    member?.cpu?.usageCoreNanoSeconds?.value as bigint,
  );
  expect(pod.linux?.cpu?.timestamp).toBeGreaterThan(member?.cpu?.timestamp as bigint);
});

test("a pod whose cgroup somebody else has named, and two pods in one", async () => {
  const { daemon } = fixture;
  const cgroupParent = `/podrt-${instanceOf(daemon.root)}/kubepods/pod1`;
  const linux = { ...secured({}).linux, cgroupParent } as never;
  const first = await runSandbox(daemon, "named", { linux });
  const command = ["sh", "-c", "while :; do :; done"];
  const id = await runContainer(daemon, first, { name: "busy", command, ...limited({ cpuQuota: 20_000n }) });
  const pid = await containerPid(daemon, id);
  await eventually("it has used some time", () => cpuUsageNs(pid) > 100_000_000n);
  const usage = async (sandboxId: string) =>
    (await sandboxStats(sandboxId)).linux?.cpu?.usageCoreNanoSeconds?.value as bigint;
  const before = cpuUsageNs(pid, "..");
  const alone = await usage(first);
  expect(alone).toBeGreaterThanOrEqual(before);
  expect(alone).toBeLessThanOrEqual(cpuUsageNs(pid, ".."));
  const second = await runSandbox(daemon, "named-alike", { linux });
  const idle = await usage(second);
  expect(idle).toBeLessThan(100_000_000n);
  expect((await sandboxStats(second)).linux?.process?.processCount?.value).toBe(1n);
  expect(await usage(first)).toBeGreaterThanOrEqual(alone);
  expect((await sandboxStats(first)).linux?.process?.processCount?.value).toBe(2n);
});

// Whether the kernel accounts for pressure is its own choice.
test.skipIf(procText("/proc/pressure/cpu") === "")(
  "a container that waits for its quota has pressure",
  async () => {
    const { daemon } = fixture;
    const sandboxId = await runSandbox(daemon, "pressed");
    const command = ["sh", "-c", "while :; do :; done"];
    const resources = { cpuQuota: 5000n, cpuPeriod: 100_000n };
    const id = await runContainer(daemon, sandboxId, { name: "pressed", command, ...limited(resources) });
    const pid = await containerPid(daemon, id);
    const totalNs = () => {
      const text = readFileSync(join(cgroupDirectory(pid, "cgroup2"), "cpu.pressure"), "utf8");
      return BigInt(/^some .*total=(\d+)/m.exec(text)?.[1] ?? 0) * 1000n;
    };
    await eventually("it has waited", () => totalNs() > 100_000_000n);
    await Bun.sleep(300);
    const before = totalNs();
    const { cpu, memory, io } = await containerStats(id);
    const total = cpu?.psi?.Some?.Total as bigint;
    expect(total).toBeGreaterThanOrEqual(before);
    expect(total).toBeLessThanOrEqual(totalNs());
    expect(memory?.psi?.Full).toBeDefined();
    expect(io?.psi?.Some).toBeDefined();
  },
);

test("a container that holds 40 MiB of memory below a limit", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "holder");
  const command = [
    "sh",
    "-c",
    `x=$(head -c ${40n * mebibyte} /dev/zero | tr '\\0' x); while :; do sleep 3600; done`,
  ];
  const resources = { memoryLimitInBytes: 256n * mebibyte, memorySwapLimitInBytes: 256n * mebibyte };
  const id = await runContainer(daemon, sandboxId, { name: "holder", command, ...limited(resources) });
  const pid = await containerPid(daemon, id);
  const children = () => procText(`/proc/${pid}/task/${pid}/children`).trim().split(" ");
  await eventually("the shell waits with what it holds", () =>
    children().some((child) => procText(`/proc/${child}/comm`) === "sleep\n"),
  );
  const row = (v1: string, v2: string) => cgroupRow(pid, "memory", `memory.stat ${v1}`, `memory.stat ${v2}`);
  // The kernel gathers its figures from the processors now and then.
  await eventually("both agree", async () => {
    const { memory, swap } = await containerStats(id);
    const usage = BigInt(cgroupText(pid, "memory", "memory.usage_in_bytes", "memory.current"));
    const workingSet = usage - row("total_inactive_file", "inactive_file");
    expect({
      usage: memory?.usageBytes?.value,
      workingSet: memory?.workingSetBytes?.value,
      available: memory?.availableBytes?.value,
      rss: memory?.rssBytes?.value,
      pageFaults: memory?.pageFaults?.value,
      majorPageFaults: memory?.majorPageFaults?.value,
      swap: swap?.swapUsageBytes?.value,
      swapAvailable: swap?.swapAvailableBytes?.value,
    }).toEqual({
      usage,
      workingSet,
      available: 256n * mebibyte - workingSet,
      rss: row("total_rss", "anon"),
      pageFaults: row("total_pgfault", "pgfault"),
      majorPageFaults: row("total_pgmajfault", "pgmajfault"),
      swap: 0n,
      swapAvailable: 0n,
    });
    expect(memory?.rssBytes?.value).toBeGreaterThan(40n * mebibyte);
    return true;
  });
  const pod = await sandboxStats(sandboxId);
  // Asked a moment later, when the container may have given some pages back.
  expect(pod.linux?.memory?.usageBytes?.value).toBeGreaterThan(40n * mebibyte);
  expect(pod.linux?.memory?.availableBytes).toBeUndefined();
});

test("a container that writes to its layer", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "writer");
  const id = await runContainer(daemon, sandboxId, { name: "writer" });
  await shellIn(
    daemon,
    id,
    "dd if=/dev/zero of=/five bs=1M count=5; mkdir /many; seq 1 300 | xargs -I{} touch /many/{}; sync",
  );
  const upper = join(daemon.root, "lib/containers", id, "upper");
  const du = async (...flags: string[]) =>
    BigInt((await outputOf("du", ["-s", ...flags, upper])).split("\t")[0]!);
  const layer = await eventually("it is measured", async () => (await containerStats(id)).writableLayer);
  expect(layer.usedBytes?.value).toBe(await du("-B1"));
  expect(layer.usedBytes?.value).toBeGreaterThan(5n * mebibyte);
  expect(layer.inodesUsed?.value).toBe(await du("--inodes"));
  expect(layer.inodesUsed?.value).toBeGreaterThan(300n);
  const { imageFilesystems, containerFilesystems } = await daemon.api.imageFsInfo({});
  expect(layer.fsId?.mountpoint).toBe(containerFilesystems[0]?.fsId?.mountpoint as string);
  expect(imageFilesystems[0]?.fsId?.mountpoint).toBe(layer.fsId?.mountpoint as string);
  // Not a walk for every question.
  await shellIn(daemon, id, "rm /five");
  const again = await containerStats(id);
  expect(again.writableLayer).toEqual(layer);
  // When it has stopped, that is all there is to tell, and it is measured anew.
  await daemon.api.stopContainer({ containerId: id, timeout: 0n });
  const stopped = await containerStats(id);
  expect(stopped.cpu).toBeUndefined();
  expect(stopped.memory).toBeUndefined();
  expect(stopped.attributes?.metadata?.name).toBe("writer");
  const last = await eventually("it is measured", async () => (await containerStats(id)).writableLayer);
  expect(last.usedBytes?.value).toBe(await du("-B1"));
});

test("a pod that sends a megabyte over its network", async () => {
  const { daemon } = fixture;
  const receiver = await runSandbox(daemon, "receiver");
  const server = await runContainer(daemon, receiver, {
    name: "nc",
    command: ["sh", "-c", "sleep 3600 | nc -l -p 9000 > /dev/null"],
  });
  const sender = await runSandbox(daemon, "sender");
  const client = await runContainer(daemon, sender, { name: "client" });
  const { network } = await sandboxStatus(daemon, receiver);
  const before = (await sandboxStats(sender)).linux?.network?.defaultInterface;
  const serverPid = await containerPid(daemon, server);
  const sockets = () => ["tcp", "tcp6"].map((name) => procText(`/proc/${serverPid}/net/${name}`)).join("");
  await eventually("the receiver listens", () => sockets().includes(":2328 "));
  await shellIn(daemon, client, `head -c 1000000 /dev/zero | nc -w 5 ${network?.ip} 9000`);
  const dev = async (sandbox: string) => {
    const text = procText(`/proc/${await pausePid(daemon, sandbox)}/net/dev`);
    return /eth0:(.*)/.exec(text)?.[1]?.trim().split(/ +/).map(BigInt) ?? [];
  };
  const [sent, received] = await eventually("all of it is counted", async () => {
    const out = (await sandboxStats(sender)).linux?.network?.defaultInterface;
    const into = (await sandboxStats(receiver)).linux?.network?.defaultInterface;
    const [devOut, devIn] = [await dev(sender), await dev(receiver)];
    const isSame = out?.txBytes?.value === devOut[8] && into?.rxBytes?.value === devIn[0];
    return isSame ? [out, into] : undefined;
  });
  const grown = (sent?.txBytes?.value as bigint) - (before?.txBytes?.value as bigint);
  expect(grown).toBeGreaterThan(1_000_000n);
  expect(grown).toBeLessThan(1_500_000n);
  expect(received?.rxBytes?.value).toBeGreaterThan(1_000_000n);
  expect(sent).toMatchObject({ name: "eth0", rxErrors: { value: 0n }, txErrors: { value: 0n } });
});

test("a pod in the host's network, whose traffic nobody can tell", async () => {
  const network = { linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } } };
  const sandboxId = await runSandbox(fixture.daemon, "in-the-host", network as never);
  const { linux } = await sandboxStats(sandboxId);
  expect(linux?.network).toBeUndefined();
  expect(linux?.process?.processCount?.value).toBe(1n);
  expect(linux?.memory?.timestamp).toBeGreaterThan(0n);
});

test("a container that forks five times", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "forker");
  const count = async () => (await sandboxStats(sandboxId)).linux?.process?.processCount?.value;
  expect(await count()).toBe(1n);
  const command = ["sh", "-c", "for i in 1 2 3 4 5; do sleep 3600 & done; wait"];
  await runContainer(daemon, sandboxId, { name: "forker", command });
  // The pause, the shell and its five.
  await eventually("seven processes are counted", async () => (await count()) === 7n);
});

describe("a list", () => {
  test("has every container, of those that run with what they use, and selects as other lists do", async () => {
    const { daemon } = fixture;
    const sandboxId = await runSandbox(daemon, "listed", { labels: { tier: "listed" } });
    const running = await runContainer(daemon, sandboxId, { name: "running", labels: { a: "b" } });
    const created = await createContainer(daemon, sandboxId, { name: "created" });
    const names = async (filter: object) => {
      const { stats } = await daemon.api.listContainerStats({ filter });
      const streamed: ContainerStats[] = [];
      for await (const reply of daemon.api.streamContainerStats({ filter }))
        streamed.push(...reply.containerStats);
      const ids = stats.map(({ attributes }) => attributes?.id);
      expect(streamed.map(({ attributes }) => attributes?.id)).toEqual(ids);
      return stats.map(
        ({ attributes, cpu }) => `${attributes?.metadata?.name} ${cpu === undefined ? "-" : "cpu"}`,
      );
    };
    expect(await names({ podSandboxId: sandboxId })).toEqual(["created -", "running cpu"]);
    expect(await names({ id: running.slice(0, 13) })).toEqual(["running cpu"]);
    expect(await names({ labelSelector: { a: "b" } })).toEqual(["running cpu"]);
    expect(await names({ labelSelector: { a: "c" } })).toEqual([]);
    expect(await names({ id: created, podSandboxId: sandboxId, labelSelector: { a: "b" } })).toEqual([]);

    const pods = async (filter: object) => {
      const { stats } = await daemon.api.listPodSandboxStats({ filter });
      const streamed: PodSandboxStats[] = [];
      for await (const reply of daemon.api.streamPodSandboxStats({ filter }))
        streamed.push(...reply.podSandboxStats);
      expect(streamed.map(({ attributes }) => attributes?.id)).toEqual(
        stats.map(({ attributes }) => attributes?.id),
      );
      return stats;
    };
    const [pod, ...others] = await pods({ labelSelector: { tier: "listed" } });
    expect(others).toEqual([]);
    expect(pod?.attributes).toMatchObject({
      id: sandboxId,
      metadata: { name: "listed", namespace: "default", uid: "uid-listed" },
      labels: { tier: "listed" },
    });
    expect(pod?.linux?.containers.map(({ attributes }) => attributes?.id)).toEqual([running]);
    expect(await pods({ id: sandboxId.slice(0, 13) })).toHaveLength(1);

    await daemon.api.stopPodSandbox({ podSandboxId: sandboxId });
    expect(await pods({ id: sandboxId })).toEqual([]);
    expect(await codeOf(daemon.api.podSandboxStats({ podSandboxId: sandboxId }))).toBe(
      Code.FailedPrecondition,
    );
    expect(await names({ podSandboxId: sandboxId })).toEqual(["created -", "running -"]);
    await daemon.api.removePodSandbox({ podSandboxId: sandboxId });
    expect(await codeOf(daemon.api.podSandboxStats({ podSandboxId: sandboxId }))).toBe(Code.NotFound);
    expect(await codeOf(daemon.api.containerStats({ containerId: running }))).toBe(Code.NotFound);
  });

  test("is complete while pods come and go", async () => {
    const { daemon } = fixture;
    const steady = await runSandbox(daemon, "steady");
    await runContainer(daemon, steady, { name: "steady" });
    let isChurning = true;
    const churn = (async () => {
      for (let round = 0; round < 6; round++) {
        const id = await runSandbox(daemon, `churn-${round}`);
        await runContainer(daemon, id, { name: "short", command: ["true"] });
        await daemon.api.removePodSandbox({ podSandboxId: id });
      }
    })().finally(() => {
      isChurning = false;
    });
    let looks = 0;
    while (isChurning) {
      const [pods, containers, metrics] = await Promise.all([
        daemon.api.listPodSandboxStats({}),
        daemon.api.listContainerStats({}),
        daemon.api.listPodSandboxMetrics({}),
      ]);
      expect(pods.stats.map(({ attributes }) => attributes?.id)).toContain(steady);
      expect(containers.stats.map(({ attributes }) => attributes?.metadata?.name)).toContain("steady");
      expect(metrics.podMetrics.map(({ podSandboxId }) => podSandboxId)).toContain(steady);
      looks++;
    }
    await churn;
    expect(looks).toBeGreaterThan(0);
  });
});

test("what is told goes on after the daemon was killed", async () => {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, "survivor");
  const command = ["sh", "-c", "while :; do :; done"];
  const resources = { cpuQuota: 10_000n, cpuPeriod: 100_000n };
  const id = await runContainer(daemon, sandboxId, { name: "survivor", command, ...limited(resources) });
  const before = await containerStats(id);
  await daemon.kill();
  await daemon.start();
  // A rate needs two looks of one daemon.
  expect((await containerStats(id)).cpu?.usageNanoCores).toBeUndefined();
  const usage = before.cpu?.usageCoreNanoSeconds?.value as bigint;
  // It has a tenth of a processor, which may all have been used just before.
  await eventually("the count goes on", async () => {
    const { cpu } = await containerStats(id);
    return (cpu?.usageCoreNanoSeconds?.value ?? 0n) > usage;
  });
  expect((await sandboxStats(sandboxId)).linux?.containers).toHaveLength(1);
});

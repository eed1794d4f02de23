// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { O_DIRECTORY, O_RDONLY } from "../../src/linux/abi/fcntl.ts";
import { attachedDevicePrograms } from "../../src/linux/bpf.ts";
import { open } from "../../src/linux/fd.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { cgroupOf, isV2 } from "./harness/limits.ts";
import { containerPid, execIn, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { isAlive } from "./harness/proc.ts";

const MiB = 1024 * 1024;
const [NAMESPACE_POD, NAMESPACE_CONTAINER] = [0, 1];
const fixture = useDaemon();
let pod: string;

interface Wishes {
  readonly command?: readonly string[];
  readonly unified?: Readonly<Record<string, string>>;
  readonly privileged?: boolean;
  readonly pid?: number;
}

/** Runs a container; answers its id and the directory of its cgroup. */
async function run(name: string, { command, unified, privileged, pid }: Wishes = {}) {
  const securityContext = {
    privileged: privileged ?? false,
    namespaceOptions: { pid: pid ?? NAMESPACE_CONTAINER },
  };
  const linux = { securityContext, resources: { unified: unified ?? {} } };
  const config = { name, linux, ...(command === undefined ? {} : { command: [...command] }) };
  const id = await runContainer(fixture.daemon, pod, config as never);
  return { id, directory: cgroupOf(await containerPid(fixture.daemon, id), "") };
}

const text = (directory: string, file: string) => readFileSync(`${directory}/${file}`, "utf8").trim();

/** How long somebody in the cgroup has waited, as the kernel tells it. */
function waitedNs(directory: string, resource: "memory" | "io"): bigint {
  return BigInt(/^some .*total=(\d+)/m.exec(text(directory, `${resource}.pressure`))?.[1] ?? 0) * 1000n;
}

/** The same as CRI statistics tell it, which must lie between what the kernel says before and after. */
async function expectPressure(id: string, directory: string, resource: "memory" | "io"): Promise<void> {
  const before = waitedNs(directory, resource);
  const { stats } = await fixture.daemon.api.containerStats({ containerId: id });
  const told = stats?.[resource]?.psi?.Some?.Total as bigint;
  expect(told).toBeGreaterThanOrEqual(before);
  expect(told).toBeLessThanOrEqual(waitedNs(directory, resource));
}

/** `MAJOR:MINOR` of the disk that a file is on, undefined when it is on none: limits are for whole disks, not for their partitions. */
function diskOf(path: string): string | undefined {
  const { dev } = statSync(path);
  const device = `/sys/dev/block/${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
  const disk = existsSync(`${device}/partition`) ? `${device}/..` : device;
  return existsSync(`${disk}/dev`) ? text(disk, "dev") : undefined;
}

const disk = diskOf(tmpdir());

// Elsewhere there is nothing of all this; make test-vm runs these.
describe.skipIf(!isV2)("cgroup v2's own mechanisms (skipped unless all controllers are v2's)", () => {
  beforeAll(async () => {
    pod = await runSandbox(fixture.daemon, "mechanisms", {
      linux: { securityContext: { privileged: true, namespaceOptions: { pid: NAMESPACE_POD } } },
    } as never);
  });

  test("a container that is held at memory.high has events and memory pressure, which statistics tell", async () => {
    const writing = "while :; do dd if=/dev/zero of=/tmp/file bs=1M count=32 2>/dev/null; sleep 0.2; done";
    const { id, directory } = await run("high", {
      command: ["sh", "-c", writing],
      unified: { "memory.high": String(16 * MiB) },
    });
    await eventually(
      "it has waited for memory",
      () => waitedNs(directory, "memory") > 1_000_000n && !/^high 0$/m.test(text(directory, "memory.events")),
      60_000,
    );
    await expectPressure(id, directory, "memory");
    expect(text(directory, "memory.events")).toMatch(/^oom_kill 0$/m);
    await fixture.daemon.api.stopContainer({ containerId: id, timeout: 0n });
  });

  // The daemon's files are in a temporary directory, which may be in memory.
  test.skipIf(disk === undefined)(
    "a container that is held at io.max has io pressure, which statistics tell",
    async () => {
      const writing = "while :; do dd if=/dev/zero of=/tmp/file bs=1M count=2 conv=fsync 2>/dev/null; done";
      const { id, directory } = await run("throttled", {
        command: ["sh", "-c", writing],
        unified: { "io.max": `${disk} wbps=${4 * MiB}` },
      });
      expect(text(directory, "io.max")).toStartWith(`${disk} rbps=max wbps=${4 * MiB}`);
      await eventually("it has waited for its disk", () => waitedNs(directory, "io") > 300_000_000n, 60_000);
      await expectPressure(id, directory, "io");
      await fixture.daemon.api.stopContainer({ containerId: id, timeout: 0n });
    },
  );

  test("devices are closed by one BPF program of the container's, also after an update and a restart", async () => {
    const { daemon } = fixture;
    const programs = (directory: string) => {
      using cgroup = open(directory, O_RDONLY | O_DIRECTORY);
      using attached = new DisposableStack();
      return attachedDevicePrograms(cgroup).map((program) => attached.use(program)).length;
    };
    const confined = await run("confined");
    const privileged = await run("privileged", { privileged: true });
    const expectClosed = async () => {
      expect([programs(confined.directory), programs(privileged.directory)]).toEqual([1, 0]);
      const { code, stderr } = await execIn(daemon, confined.id, "sh", "-c", ": < /tmp/kmsg");
      expect([code, stderr]).toEqual([1, expect.stringContaining("Operation not permitted")]);
      await shellIn(daemon, privileged.id, ": < /dev/kmsg");
    };
    await shellIn(daemon, confined.id, "mknod /tmp/kmsg c 1 11");
    await expectClosed();
    const linux = { cpuShares: 512n };
    await daemon.api.updateContainerResources({ containerId: confined.id, linux });
    await daemon.kill();
    await daemon.start();
    await expectClosed();
  });

  test("whatever a container has forked away in its pod's process namespace ends with it", async () => {
    const { daemon } = fixture;
    const forking = "for i in 1 2 3 4 5 6; do setsid sh -c 'while :; do sleep 0.1; done' & done; sleep 3600";
    const { id, directory } = await run("forking", {
      command: ["sh", "-c", forking],
      unified: { "pids.max": "64" },
      pid: NAMESPACE_POD,
    });
    const members = () => text(directory, "cgroup.procs").split("\n").map(Number);
    await eventually("they fork", () => members().length >= 8);
    const seen = members();
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    await eventually("all have ended", () => !seen.some(isAlive));
    await daemon.api.removeContainer({ containerId: id });
    expect(existsSync(directory)).toBe(false);
  });
});

// SPDX-License-Identifier: Apache-2.0
import { beforeAll, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readdirSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patience } from "../support/patience.ts";
import { readCommits } from "./harness/database-commits.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { tieTo } from "./harness/leftovers.ts";
import { createContainer, pausePid, runContainer, runSandbox } from "./harness/pods.ts";
import { allPids, memoryOf, parentOf, procText } from "./harness/proc.ts";
import { countSyscalls, hasStrace, totalOf } from "./harness/syscall-count.ts";

/*
 * What pods and calls take that does not depend on how fast the machine is: `make bench` measures the time. The bounds
 * are a little above what is so; whoever goes over one has made something dearer, or lowers them for having made it
 * cheaper.
 */

const fixture = useDaemon();
const timeoutMs = 120_000 * patience;
const BOUNDS = {
  /** Beside the application, of each pod of one container. */
  perPod: { processes: 2, mounts: 2, daemonDescriptors: 14, files: 8, privateBytes: 32 * 1024 },
  syscalls: {
    runPodSandbox: 340,
    createContainer: 160,
    startContainer: 170,
    execSync: 60,
    stopContainer: 85,
    removeContainer: 97,
  },
  /** Of the monitor, its child and the application, a moment after its start. */
  launch: { startContainer: 300, execSync: 120 },
  /** For each of ten pods with one container each, looked at again and again; their files are open by then. */
  perFigure: { listContainerStats: 12, listPodSandboxStats: 45, listPodSandboxMetrics: 45 },
  // Of those of runPodSandbox one may be the lease that the pod before it gives back.
  commits: { runPodSandbox: 5, createContainer: 2, startContainer: 2, execSync: 0, stopContainer: 1 },
} as const;

type Call = keyof typeof BOUNDS.syscalls | keyof typeof BOUNDS.commits;

/** The first of all pods brings what is there once, like the bridge; it stays. */
beforeAll(async () => {
  const { daemon } = fixture;
  await runContainer(daemon, await runSandbox(daemon, "first"), { name: "app" });
});

interface Holdings {
  readonly processes: number;
  readonly mounts: number;
  readonly daemonDescriptors: number;
  /** And directories, below those in which containers write. */
  readonly files: number;
}

/** Once every pod's application has come so far that it can be told from what the runtime has beside it. */
async function holdings(pods: number): Promise<Holdings> {
  const { root } = fixture.daemon;
  const ties = () => allPids().filter((other) => tieTo(other, root) !== undefined);
  await eventually("all applications run", () => ties().filter(isApplication).length === pods, 60_000);
  const pid = fixture.daemon.pid();
  const mounts = procText("/proc/self/mountinfo").split("\n");
  return {
    processes: ties().filter((other) => other !== pid && !isApplication(other)).length,
    mounts: mounts.filter((line) => line.includes(`${root}/`)).length,
    daemonDescriptors: readdirSync(`/proc/${pid}/fd`).length,
    files: readdirSync(join(root, "lib/containers"), { recursive: true }).length,
  };
}

function isApplication(pid: number): boolean {
  return procText(`/proc/${pid}/cmdline`).startsWith("sleep\0");
}

test(
  "a pod at rest keeps few processes, mounts, descriptors and little memory",
  async () => {
    const { daemon } = fixture;
    const pods = 10;
    const before = await holdings(1);
    const sandboxes: string[] = [];
    for (let count = 0; count < pods; count += 1) {
      const logDirectory = join(daemon.root, `logs-${count}`);
      const sandboxId = await runSandbox(daemon, `rest-${count}`, { logDirectory });
      await runContainer(daemon, sandboxId, { name: "app", logPath: "app.log" });
      sandboxes.push(sandboxId);
    }
    const after = await holdings(1 + pods);
    for (const name of ["processes", "mounts", "daemonDescriptors", "files"] as const) {
      const each = (after[name] - before[name]) / pods;
      expect(each, `${name} of a pod`).toBeLessThanOrEqual(BOUNDS.perPod[name]);
    }
    // Who looks at nothing finds nothing.
    expect(after.processes).toBeGreaterThanOrEqual(2 * pods);
    for (const sandboxId of sandboxes) {
      const pause = await pausePid(daemon, sandboxId);
      const bytes = [pause, parentOf(pause)].map((pid) => {
        const memory = memoryOf(pid);
        return memory["Private_Clean"]! + memory["Private_Dirty"]!;
      });
      expect(Math.min(...bytes), "private bytes of each of pause and monitor").toBeGreaterThan(0);
      expect(bytes[0]! + bytes[1]!, "private bytes of pause and monitor").toBeLessThanOrEqual(
        BOUNDS.perPod.privateBytes,
      );
    }
    for (const sandboxId of sandboxes) await removeSandbox(sandboxId);
  },
  timeoutMs,
);

// EXT4_SUPER_MAGIC, statfs(2).
const EXT4 = 0xef53;

// Other file systems have no such attribute.
test.skipIf(statfsSync(tmpdir()).type !== EXT4)(
  "what comes and goes with pods is spread over an ext4, which is slow to use an inode again",
  () => {
    const { root } = fixture.daemon;
    for (const name of ["lib/layers", "lib/containers", "run/pods"]) {
      const attributes = execFileSync("lsattr", ["-d", join(root, name)])
        .toString()
        .split(" ")[0];
      expect(attributes, name).toContain("T");
    }
  },
);

/** Makes the calls so many times over, each within `around`, which is told what is called. */
async function callAll(rounds: number, around: (call: Call, work: () => Promise<unknown>) => Promise<void>) {
  const { daemon } = fixture;
  const { api } = daemon;
  for (let round = 0; round < rounds; round += 1) {
    let sandboxId = "";
    await around("runPodSandbox", async () => {
      sandboxId = await runSandbox(daemon, `calls-${round}`);
    });
    let containerId = "";
    await around("createContainer", async () => {
      containerId = await createContainer(daemon, sandboxId, { name: "app" });
    });
    await around("startContainer", () => api.startContainer({ containerId }));
    await around("execSync", () => api.execSync({ containerId, cmd: ["true"], timeout: 30n }));
    await around("stopContainer", () => api.stopContainer({ containerId, timeout: 0n }));
    await around("removeContainer", () => api.removeContainer({ containerId }));
    await removeSandbox(sandboxId);
  }
}

async function removeSandbox(podSandboxId: string): Promise<void> {
  const { api } = fixture.daemon;
  await api.stopPodSandbox({ podSandboxId });
  await api.removePodSandbox({ podSandboxId });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

// Needs strace(1), which `make test` installs where apt-get is there.
test.skipIf(!hasStrace)(
  "calls make so many system calls and no more",
  async () => {
    const counts: Partial<Record<Call, number[]>> = {};
    await callAll(1, async (_, work) => void (await work()));
    await callAll(5, async (call, work) => {
      const counted = await countSyscalls(fixture.daemon.pid(), async () => void (await work()));
      counts[call] = [...(counts[call] ?? []), totalOf(counted)];
    });
    for (const [call, bound] of Object.entries(BOUNDS.syscalls) as [Call, number][]) {
      const count = median(counts[call]!);
      expect(count, `system calls of ${call}`).toBeLessThanOrEqual(bound);
      expect(count, `system calls of ${call}`).toBeGreaterThan(10);
    }
  },
  timeoutMs,
);

// Needs strace(1), too.
test.skipIf(!hasStrace)(
  "statistics take so many system calls of each pod, and keep nothing open of those that are gone",
  async () => {
    const { daemon } = fixture;
    const pods = 9;
    const descriptors = () => readdirSync(`/proc/${daemon.pid()}/fd`).length;
    const figures = Object.keys(BOUNDS.perFigure) as (keyof typeof BOUNDS.perFigure)[];
    for (const figure of figures) await daemon.api[figure]({});
    const before = descriptors();
    const sandboxes: string[] = [];
    for (let count = 0; count < pods; count += 1) {
      const sandboxId = await runSandbox(daemon, `figures-${count}`);
      await runContainer(daemon, sandboxId, { name: "app" });
      sandboxes.push(sandboxId);
    }
    const unseen = descriptors();
    for (const figure of figures) await daemon.api[figure]({});
    expect(descriptors()).toBeGreaterThan(unseen + pods);
    for (const figure of figures) {
      // What was read for the call before is too old by then.
      await Bun.sleep(1100);
      const counted = await countSyscalls(daemon.pid(), async () => void (await daemon.api[figure]({})));
      const each = totalOf(counted) / (pods + 1);
      expect(each, `system calls of ${figure} for each pod`).toBeLessThanOrEqual(BOUNDS.perFigure[figure]);
      expect(each, `system calls of ${figure} for each pod`).toBeGreaterThan(2);
    }
    for (const sandboxId of sandboxes) await removeSandbox(sandboxId);
    await eventually("what was open of them is closed", () => descriptors() <= before, 60_000);
  },
  timeoutMs,
);

// For the same reason.
test.skipIf(!hasStrace)(
  "launches make so many system calls and no more",
  async () => {
    const { daemon } = fixture;
    const { api } = daemon;
    const sandboxId = await runSandbox(daemon, "launches");
    const monitor = parentOf(await pausePid(daemon, sandboxId));
    const containerId = await createContainer(daemon, sandboxId, { name: "app" });
    const work = {
      startContainer: () => api.startContainer({ containerId }),
      execSync: () => api.execSync({ containerId, cmd: ["true"], timeout: 30n }),
    };
    for (const call of ["startContainer", "execSync"] as const) {
      const counted = await countSyscalls(monitor, async () => void (await work[call]()), {
        withChildren: true,
      });
      expect(counted["execve"], `of ${call}`).toBeGreaterThan(0);
      expect(totalOf(counted), `system calls of ${call}`).toBeLessThanOrEqual(BOUNDS.launch[call]);
    }
    await removeSandbox(sandboxId);
  },
  timeoutMs,
);

test(
  "calls commit so many transactions and no more",
  async () => {
    const wal = join(fixture.daemon.root, "lib/podrt.db-wal");
    const counts: Partial<Record<Call, number[]>> = {};
    await callAll(5, async (call, work) => {
      const before = readCommits(wal);
      await work();
      const after = readCommits(wal);
      const since = after.begun === before.begun ? before.commits : 0;
      counts[call] = [...(counts[call] ?? []), after.commits - since];
    });
    for (const [call, bound] of Object.entries(BOUNDS.commits) as [Call, number][]) {
      expect(median(counts[call]!), `transactions of ${call}`).toBeLessThanOrEqual(bound);
    }
  },
  timeoutMs,
);

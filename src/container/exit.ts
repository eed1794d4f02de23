// SPDX-License-Identifier: Apache-2.0

import { releaseHeldProgram } from "../launch/container-program.ts";
import type { ChildExit } from "../launch/journal.ts";
import type { Monitor } from "../launch/monitor.ts";
import { sleep, withDeadline } from "../lib/deadline.ts";
import { persistently } from "../lib/persistently.ts";
import { twice } from "../lib/twice.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { oomKills } from "../telemetry/daemon-families.ts";
import { exitCodeOf } from "./exit-code.ts";
import { closeLive, type LiveContainer } from "./live.ts";
import { endOci } from "./oci/end.ts";
import { outOfMemoryOf } from "./out-of-memory.ts";
import { containerConfig, launchTag, specOf } from "./records.ts";
import { type Runtime, updateContainer } from "./runtime.ts";
import { heldCount } from "./stdio.ts";

// Output that a process left in its pipe is read within this; longer means that something outside
// the container still has the pipe open.
const DRAIN_TIMEOUT_MS = 2000;

const settling = new Map<string, Promise<void>>();

/** Records the end of a container's first process, once its output is in the log; callers share one run. */
export function settleExit(runtime: Runtime, record: ContainerRecord, exit: ChildExit): Promise<void> {
  const known = settling.get(record.id);
  if (known !== undefined) return known;
  // An exit that is not recorded leaves the container running for ever.
  const work = persistently(
    () => settle(runtime, record, exit),
    (err) => runtime.log.error({ err, container: record.id }, "an exit could not be recorded; trying again"),
  ).finally(() => settling.delete(record.id));
  settling.set(record.id, work);
  return work;
}

/** True while the end of a container's first process is known and its output is still being read. */
export function isSettling(id: string): boolean {
  return settling.has(id);
}

async function settle(runtime: Runtime, record: ContainerRecord, exit: ChildExit): Promise<void> {
  const current = runtime.containers.get(record.id);
  if (current === undefined || current.finishedAtNs !== undefined) return;
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  // In a pid namespace of its own the kernel has killed the rest; in a shared one they are still there.
  if (!ownsPidNamespace(record) && cgroup.exists()) await cgroup.kill();
  const live = runtime.live.get(record.id);
  live?.log?.poke();
  const isWritten = live === undefined || (await drained(live));
  const exitCode = exitCodeOf(exit.status);
  // It may have been another process than the first: then the exit code decides, and the message tells.
  const outOfMemory = outOfMemoryOf(runtime, record);
  if (outOfMemory !== undefined) {
    oomKills.add(1);
    runtime.log.warn({ container: record.id }, `container ${record.name}: ${outOfMemory}`);
  }
  // Before others learn of the end and take the monitor away, which the runtime's last command is a child of.
  await endOci(runtime, runtime.monitors.get(record.sandboxId), record);
  // Its resources may have been updated meanwhile.
  updateContainer(runtime, runtime.containers.get(record.id) ?? current, {
    finishedAtNs: String(exit.atNs),
    exitCode,
    reason: exitCode === 0 ? "Completed" : outOfMemory === undefined ? "Error" : "OOMKilled",
    ...(outOfMemory === undefined ? {} : { message: outOfMemory }),
    ...(isWritten ? {} : { hasHeldOutput: true }),
  });
  runtime.events.emit("stopped", record.id, record.sandboxId);
  // Who has waited for the end is answered before the rest is let go.
  await new Promise((resolve) => setImmediate(resolve));
  runtime.monitors.get(record.sandboxId)?.forget(launchTag(record.id));
  if (live !== undefined && !isWritten) void writeHeldOutput(runtime, record, live);
  else await releaseOutput(runtime, record, live);
  // It goes with the container at the latest.
  await twice(() => cgroup.remove()).catch((err) =>
    runtime.log.warn({ err, container: record.id }, "cgroup not removed"),
  );
}

/** Waits for the last output; false when it is held back, to be written when its log's disk has room. */
async function drained(live: LiveContainer): Promise<boolean> {
  if (live.log?.isHeldBack) return false;
  try {
    await withDeadline(live.drained, DRAIN_TIMEOUT_MS, "reading the rest of the output");
    return true;
  } catch {
    if (live.log?.isHeldBack) return false;
    live.cancelPumps();
  }
  if (live.log?.isHeldBack) return false;
  await live.drained;
  return true;
}

/**
 * Waits until the output of a container that has ended could be written, or the container is removed, and then lets
 * go of it. Until then the monitor keeps it, for a daemon that starts meanwhile.
 */
export async function writeHeldOutput(
  runtime: Runtime,
  { id }: ContainerRecord,
  live: LiveContainer,
): Promise<void> {
  do await Promise.race([live.drained, sleep(DRAIN_TIMEOUT_MS)]);
  while (!(await drained(live)));
  await persistently(
    () => {
      const { hasHeldOutput: _, ...written } = runtime.containers.get(id) ?? {};
      if ("id" in written) runtime.containers.put(id, written as ContainerRecord);
    },
    (err) => runtime.log.error({ err, container: id }, "written output could not be recorded; trying again"),
  );
  const record = runtime.containers.get(id);
  if (record !== undefined) await releaseOutput(runtime, record, live);
}

async function releaseOutput(
  runtime: Runtime,
  record: ContainerRecord,
  live: LiveContainer | undefined,
): Promise<void> {
  if (live !== undefined) closeLive(live);
  runtime.live.delete(record.id);
  const monitor = runtime.monitors.get(record.sandboxId);
  if (monitor !== undefined) await releaseStdio(runtime, monitor, record);
}

/** Lets the monitor close what it holds of a container's stdio; never fails, since the pod's end does it too. */
export async function releaseStdio(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
): Promise<void> {
  try {
    if (!(await twice(() => monitor.isAlive()))) return;
    const { tty, stdin } = containerConfig(record);
    const held = heldCount({ tty, stdin });
    await monitor.launch(releaseHeldProgram(`container ${record.name}`, record.heldFd, held), []);
  } catch (err) {
    runtime.log.warn({ err, container: record.id }, "stdio not released");
  }
}

/** True when the container's first process is PID 1 of a namespace made for it. */
export function ownsPidNamespace(record: ContainerRecord): boolean {
  return specOf(record).linux.namespaces.some(({ type, path }) => type === "pid" && path === undefined);
}

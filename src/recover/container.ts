// SPDX-License-Identifier: Apache-2.0
import { closeStdin } from "../container/close-stdin.ts";
import { recoverExecCgroups } from "../container/exec-cgroup.ts";
import { releaseStdio, writeHeldOutput } from "../container/exit.ts";
import { newLiveContainer } from "../container/live.ts";
import { endOci, killOciCommands } from "../container/oci/end.ts";
import { hasOciHandler } from "../container/oci/handler.ts";
import { containerConfig, launchTag } from "../container/records.ts";
import { nowNs, type Runtime, updateContainer } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { logPlace, startPumps, takeBackStdio } from "../container/stdio.ts";
import type { LaunchHistory } from "../launch/journal.ts";
import type { Monitor } from "../launch/monitor.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { identifyChild } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";

/** Takes up a container of a pod whose monitor lives: how far its start came, its output, its commands. */
export async function recoverContainer(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
): Promise<void> {
  if (!record.created) return;
  // The daemon may have died between the record of an exit and the release of what the monitor holds.
  if (containerState(record) === "exited") {
    if (!record.hasHeldOutput) return releaseStdio(runtime, monitor, record);
    // An earlier attempt may have resumed it.
    return runtime.live.has(record.id) ? undefined : resumeHeldOutput(runtime, monitor, record);
  }
  if (hasOciHandler(runtime, record)) {
    killOciCommands(runtime, monitor, record);
    if (isInterruptedOciStart(runtime, record)) return;
  }
  const history = monitor.history(launchTag(record.id));
  const running = settleStart(runtime, record, history);
  if (running === undefined) return;
  await resumeStdio(runtime, monitor, running);
  recoverExecCgroups(runtime, monitor, running);
}

/** An OCI runtime takes several commands to start a container, and nobody knows which of them was the last. */
export function isInterruptedOciStart(runtime: Runtime, record: ContainerRecord): boolean {
  const isStarting = containerState(record) === "created" && record.startingAtNs !== undefined;
  return isStarting && hasOciHandler(runtime, record);
}

/** Takes such a start back, once the monitor is listened to, whose child the runtime's command is. */
export async function undoOciStart(
  runtime: Runtime,
  monitor: Monitor,
  record: ContainerRecord,
): Promise<void> {
  await endOci(runtime, monitor, record);
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  if (cgroup.exists()) await cgroup.kill();
  monitor.forget(launchTag(record.id));
  await releaseStdio(runtime, monitor, record);
  updateContainer(runtime, record, {
    finishedAtNs: nowNs(),
    exitCode: 128,
    reason: "StartError",
    message: "podrt was restarted while an OCI runtime started it",
  });
}

/** Decides whether a container whose start was under way has started: the journal knows. */
function settleStart(
  runtime: Runtime,
  record: ContainerRecord,
  history: LaunchHistory | undefined,
): ContainerRecord | undefined {
  if (containerState(record) === "running") return record;
  if (record.startingAtNs === undefined) return undefined;
  if (history !== undefined) {
    const process = identifyChild(history.pid);
    const running = updateContainer(runtime, record, { startedAtNs: record.startingAtNs, process });
    runtime.events.emit("started", record.id, record.sandboxId);
    return running;
  }
  // The launch never reached the monitor: the container can still be started.
  const { startingAtNs: _, ...created } = record;
  runtime.containers.put(record.id, created);
  return undefined;
}

async function resumeStdio(runtime: Runtime, monitor: Monitor, record: ContainerRecord): Promise<void> {
  const { tty, stdin: hadStdin } = containerConfig(record);
  const stdin = hadStdin && record.stdinClosed !== true;
  const live = newLiveContainer();
  runtime.live.set(record.id, live);
  if (hadStdin && !stdin) await closeStdin(runtime, record.id);
  const ends = await takeBackStdio(monitor, `container ${record.name}`, { tty, stdin }, record.heldFd);
  startPumps(live, ends, logPlace(runtime, record), tty);
}

/** Output that could not be written while the container ran, for a full disk, is still in its pipes. */
async function resumeHeldOutput(runtime: Runtime, monitor: Monitor, record: ContainerRecord): Promise<void> {
  try {
    await resumeStdio(runtime, monitor, record);
  } catch (err) {
    runtime.log.error({ err, container: record.id }, "the last output of a container is lost");
    return releaseStdio(runtime, monitor, record);
  }
  const live = runtime.live.get(record.id);
  if (live !== undefined) void writeHeldOutput(runtime, record, live);
}

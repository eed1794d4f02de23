// SPDX-License-Identifier: Apache-2.0
import { isSettling, ownsPidNamespace, settleExit } from "../container/exit.ts";
import { launchTag, PAUSE_TAG } from "../container/records.ts";
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { stopContainer } from "../container/stop.ts";
import type { ChildExit, LaunchHistory } from "../launch/journal.ts";
import type { Monitor } from "../launch/monitor.ts";
import { persistently } from "../lib/persistently.ts";
import { SIGNAL, signalName } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { signal } from "../linux/process.ts";
import type { ContainerRecord } from "../state/containers.ts";

/** Takes a sandbox's monitor into the daemon's care: every exit it reaps, and its own end. */
export function supervise(runtime: Runtime, sandboxId: string, monitor: Monitor): void {
  runtime.monitors.set(sandboxId, monitor);
  monitor.onExit((tag, history) => handleExit(runtime, sandboxId, tag, history));
  monitor.onGone(() => void recorded(runtime, sandboxId, () => monitorGone(runtime, sandboxId)));
}

/** Records the death of a pause behind the caller's back. */
export function recordPauseDeath(runtime: Runtime, sandboxId: string, exit: ChildExit): void {
  void recorded(runtime, sandboxId, () => pauseDied(runtime, sandboxId, exit));
}

/** An end that is not recorded leaves the sandbox ready for ever. */
export function recorded(runtime: Runtime, sandbox: string, work: () => Promise<void>): Promise<void> {
  return persistently(work, (err) =>
    runtime.log.error({ err, sandbox }, "the end of a sandbox could not be recorded; trying again"),
  );
}

function handleExit(runtime: Runtime, sandboxId: string, tag: number, history: LaunchHistory): void {
  const { exit } = history;
  if (exit === undefined) return;
  if (tag === PAUSE_TAG) {
    recordPauseDeath(runtime, sandboxId, exit);
    return;
  }
  const waiting = runtime.execs.get(tag);
  if (waiting !== undefined) {
    waiting(exit);
    return;
  }
  const container = containersOf(runtime, sandboxId).find((record) => launchTag(record.id) === tag);
  // A container whose start has not returned yet is settled by the start itself.
  if (container?.startedAtNs !== undefined) void settleExit(runtime, container, exit);
}

/** Records how the pause ended, and with it the pod. */
export function pauseDied(runtime: Runtime, sandboxId: string, exit: ChildExit): Promise<void> {
  const signo = exit.status & 0x7f;
  const how = signo === 0 ? `exited with code ${(exit.status >> 8) & 0xff}` : `died of ${signalName(signo)}`;
  return pauseGone(runtime, sandboxId, `pause ${how}`, String(exit.atNs));
}

/** The pause is the pod: with it goes the sandbox, and what else runs in it is stopped. */
export async function pauseGone(
  runtime: Runtime,
  sandboxId: string,
  reason: string,
  atNs: string,
): Promise<void> {
  const record = runtime.sandboxes.get(sandboxId);
  if (record === undefined || record.end !== undefined || record.readyAtNs === undefined) return;
  runtime.sandboxes.put(sandboxId, { ...record, end: { atNs, reason } });
  runtime.log.warn({ sandbox: sandboxId, name: record.name }, `${reason}; stopping the pod's containers`);
  runtime.events.emit("stopped", sandboxId, sandboxId);
  await Promise.allSettled(containersOf(runtime, sandboxId).map(({ id }) => stopContainer(runtime, id, 0)));
}

/** Without its monitor nobody reaps a pod's processes or knows their exit codes: the pod ends. */
export async function monitorGone(runtime: Runtime, sandboxId: string): Promise<void> {
  runtime.monitors.delete(sandboxId);
  const record = runtime.sandboxes.get(sandboxId);
  if (record === undefined) return;
  const reason = "the pod's monitor died";
  // Of a pod that has ended before, a container may still be on its way out.
  if (record.end !== undefined) return endOrphans(runtime, sandboxId, reason);
  runtime.sandboxes.put(sandboxId, { ...record, end: { atNs: nowNs(), reason } });
  runtime.log.error({ sandbox: sandboxId, name: record.name }, `${reason}; stopping the pod`);
  if (record.pause !== undefined) signal(record.pause, SIGNAL.SIGKILL);
  endOrphans(runtime, sandboxId, reason);
  runtime.events.emit("stopped", sandboxId, sandboxId);
}

/** Kills and records the end of containers whose exit nobody can tell any more. */
export function endOrphans(runtime: Runtime, sandboxId: string, reason: string): void {
  for (const container of containersOf(runtime, sandboxId)) {
    if (containerState(container) === "running" && !isSettling(container.id))
      endOrphan(runtime, container, reason);
  }
}

/** The same for one of them. */
export function endOrphan(runtime: Runtime, container: ContainerRecord, reason: string): void {
  if (container.process !== undefined) signal(container.process, SIGNAL.SIGKILL);
  void killRest(runtime, container);
  const changes = { finishedAtNs: nowNs(), exitCode: 255, reason: "Unknown", message: reason };
  runtime.containers.put(container.id, { ...container, ...changes });
  runtime.events.emit("stopped", container.id, container.sandboxId);
}

/** What a container without a pid namespace of its own has started goes by its cgroup. */
async function killRest(runtime: Runtime, container: ContainerRecord): Promise<void> {
  const cgroup = openCgroup(runtime.cgroups, container.cgroupPath);
  try {
    if (!ownsPidNamespace(container) && cgroup.exists()) await cgroup.kill();
  } catch (err) {
    runtime.log.error({ err, container: container.id }, "processes of a container could not be killed");
  }
}

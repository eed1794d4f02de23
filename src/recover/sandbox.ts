// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { isSettling, settleExit } from "../container/exit.ts";
import { closeLive } from "../container/live.ts";
import { launchTag, PAUSE_TAG } from "../container/records.ts";
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { messageOf } from "../errors.ts";
import { foreignMonitor } from "../launch/foreign-monitor.ts";
import type { Monitor } from "../launch/monitor.ts";
import { readJournal } from "../launch/monitor-client.ts";
import { adoptMonitor, findMonitor } from "../launch/monitor-process.ts";
import { sleep, withDeadline } from "../lib/deadline.ts";
import { SIGNAL } from "../linux/abi/signal.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { identify, isAlive, signal } from "../linux/process.ts";
import type { Children } from "../linux/process-children.ts";
import { podDir } from "../paths.ts";
import { removeFiles, unmountShm } from "../sandbox/files.ts";
import { endLostContainers } from "../sandbox/lost-pods.ts";
import { removePodCgroup } from "../sandbox/pod-cgroup.ts";
import { removeTopCgroup } from "../sandbox/remove.ts";
import { endOrphans, pauseDied, supervise } from "../sandbox/supervise.ts";
import { superviseByLooking } from "../sandbox/supervise-by-looking.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";
import { isInterruptedOciStart, recoverContainer, undoOciStart } from "./container.ts";

const TAKE_UP_ATTEMPTS = 5;
const TAKE_UP_PAUSE_MS = 100;
/** What giving back a network may take, before the start goes on. */
const DETACH_MS = 5000;

/** Takes up a pod. What cannot be opened or allocated just now may be a moment later, and the pod runs meanwhile. */
export async function takeUp(runtime: Runtime, { id }: SandboxRecord, children: Children): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const record = runtime.sandboxes.get(id);
    if (record === undefined) return;
    try {
      return await recoverSandbox(runtime, record, children);
    } catch (err) {
      letGo(runtime, id);
      if (attempt === TAKE_UP_ATTEMPTS) return giveUp(runtime, record, err);
      runtime.log.warn({ err, sandbox: id }, "cannot take up a sandbox; trying again");
      await sleep(attempt * TAKE_UP_PAUSE_MS);
    }
  }
}

/** Closes what has been opened of a pod; its processes, and what its monitor holds, are as before. */
function letGo(runtime: Runtime, sandboxId: string): void {
  runtime.monitors.get(sandboxId)?.disconnect();
  runtime.monitors.delete(sandboxId);
  for (const record of containersOf(runtime, sandboxId)) {
    const live = runtime.live.get(record.id);
    if (live === undefined || containerState(record) !== "running" || isSettling(record.id)) continue;
    closeLive(live);
    runtime.live.delete(record.id);
  }
}

/** One pod that cannot be taken up must not keep the others down: it is not ready, and can be stopped and removed. */
function giveUp(runtime: Runtime, record: SandboxRecord, err: unknown): void {
  const { id } = record;
  runtime.log.error({ err, sandbox: id }, "cannot take up a sandbox; stop and remove it");
  const reason = `podrt could not take it up again: ${messageOf(err)}`;
  endSandbox(runtime, record, reason);
  if (record.monitor === undefined || !isAlive(record.monitor)) endOrphans(runtime, id, reason);
  else superviseByLooking(runtime, id, foreignMonitor(record.monitor, reason));
}

async function recoverSandbox(runtime: Runtime, record: SandboxRecord, children: Children): Promise<void> {
  if (record.bootId !== runtime.bootId) {
    // What has the numbers of its processes now is somebody else's.
    const { monitor: _monitor, pause: _pause, ...unfinished } = record;
    if (record.readyAtNs === undefined) return undoSandbox(runtime, unfinished);
    endSandbox(runtime, record, "the machine was rebooted");
    endOrphans(runtime, record.id, "the machine was rebooted");
    return;
  }
  if (record.readyAtNs === undefined) return undoSandbox(runtime, record);
  const dir = podDir(runtime.paths, record.id);
  const monitor = record.monitor === undefined ? undefined : await adoptMonitor(dir, record.monitor);
  if (monitor === undefined) return recoverWithoutMonitor(runtime, record, dir);
  if (monitor.refusal !== undefined) {
    const fields = { sandbox: record.id, name: record.name };
    runtime.log.error(fields, `the pod goes on unattended: ${monitor.refusal}`);
    return superviseByLooking(runtime, record.id, monitor);
  }
  // Not listened to yet: the end of a container whose output is not taken up would let go of that.
  runtime.monitors.set(record.id, monitor);
  const containers = containersOf(runtime, record.id);
  const outcomes = await Promise.allSettled(
    containers.map((container) => recoverContainer(runtime, monitor, container)),
  );
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  await endLostContainers(runtime, record, monitor, children);
  supervise(runtime, record.id, monitor);
  const interrupted = containersOf(runtime, record.id).filter((one) => isInterruptedOciStart(runtime, one));
  await Promise.all(interrupted.map((container) => undoOciStart(runtime, monitor, container)));
  await settleMissed(runtime, monitor, record.id);
}

/** What has ended while nobody listened to the monitor. */
async function settleMissed(runtime: Runtime, monitor: Monitor, sandboxId: string): Promise<void> {
  await Promise.all(
    containersOf(runtime, sandboxId).map((container) => {
      const exit = monitor.history(launchTag(container.id))?.exit;
      return exit === undefined || containerState(container) !== "running"
        ? undefined
        : settleExit(runtime, container, exit);
    }),
  );
  const pauseExit = monitor.history(PAUSE_TAG)?.exit;
  if (pauseExit !== undefined) await pauseDied(runtime, sandboxId, pauseExit);
}

/** Also one that was never ready is listed from then on, so that somebody can remove it. */
function endSandbox(runtime: Runtime, record: SandboxRecord, reason: string): void {
  if (record.end !== undefined) return;
  runtime.sandboxes.put(record.id, { ...record, end: { atNs: nowNs(), reason } });
  runtime.log.warn({ sandbox: record.id, name: record.name }, `sandbox is not ready any more: ${reason}`);
  runtime.events.emit("stopped", record.id, record.id);
}

/** The monitor is gone, but its journal says what its processes came to while it lived. */
async function recoverWithoutMonitor(runtime: Runtime, record: SandboxRecord, dir: string): Promise<void> {
  const reason = "the pod's monitor died";
  if (isReady(record)) {
    endSandbox(runtime, record, reason);
    if (record.pause !== undefined) signal(record.pause, SIGNAL.SIGKILL);
  }
  const journal = readJournal(dir);
  journal.advance();
  for (const container of containersOf(runtime, record.id)) {
    const exit = journal.history(launchTag(container.id))?.exit;
    if (exit !== undefined && containerState(container) === "running")
      await settleExit(runtime, container, exit);
  }
  journal.close();
  endOrphans(runtime, record.id, reason);
}

/** A sandbox that was being made: everything of it is taken back, and its name is free. */
async function undoSandbox(runtime: Runtime, record: SandboxRecord): Promise<void> {
  runtime.log.info({ sandbox: record.id, name: record.name }, "undoing a sandbox that was being made");
  const dir = podDir(runtime.paths, record.id);
  if (record.pause !== undefined) signal(record.pause, SIGNAL.SIGKILL);
  const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
  if (cgroup.exists()) await cgroup.kill();
  const identity = record.monitor ?? findMonitor(record.id);
  const monitor = identity === undefined ? undefined : await adoptMonitor(dir, identity);
  const pause = monitor?.history(PAUSE_TAG);
  const launched = pause === undefined || pause.exit !== undefined ? undefined : identify(pause.pid);
  if (launched !== undefined) signal(launched, SIGNAL.SIGKILL);
  await monitor?.end();
  monitor?.disconnect();
  unmountShm(dir);
  // A plugin that hangs must not keep the other pods down: it is asked again beside them.
  const detached = runtime.network.detach(record.id, join(dir, "netns"));
  await withDeadline(detached, DETACH_MS, "giving back its network");
  await removePodCgroup(runtime, record);
  await runtime.snapshotter.remove(record.id);
  removeFiles(dir);
  runtime.sandboxes.delete(record.id);
  await removeTopCgroup(runtime);
}

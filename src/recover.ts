// SPDX-License-Identifier: Apache-2.0

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { recoverCheckpoints } from "./checkpoint/recover.ts";
import { closeStdin } from "./container/close-stdin.ts";
import { recoverExecCgroups } from "./container/exec-cgroup.ts";
import { isSettling, releaseStdio, settleExit, writeHeldOutput } from "./container/exit.ts";
import { closeLive, newLiveContainer } from "./container/live.ts";
import { endOci, killOciCommands } from "./container/oci/end.ts";
import { hasOciHandler } from "./container/oci/handler.ts";
import { containerConfig, launchTag, PAUSE_TAG } from "./container/records.ts";
import { removeContainer } from "./container/remove.ts";
import { containersOf, imagesInUse, nowNs, type Runtime, updateContainer } from "./container/runtime.ts";
import { containerState } from "./container/status.ts";
import { logPlace, startPumps, takeBackStdio } from "./container/stdio.ts";
import { messageOf } from "./errors.ts";
import { foreignMonitor } from "./launch/foreign-monitor.ts";
import type { LaunchHistory } from "./launch/journal.ts";
import type { Monitor } from "./launch/monitor.ts";
import { readJournal } from "./launch/monitor-client.ts";
import { adoptMonitor, findMonitor } from "./launch/monitor-process.ts";
import { Cleanup } from "./lib/cleanup.ts";
import { sleep, withDeadline } from "./lib/deadline.ts";
import { twice } from "./lib/twice.ts";
import { SIGNAL } from "./linux/abi/signal.ts";
import { openCgroup } from "./linux/cgroup/cgroup.ts";
import { unpinNamespace } from "./linux/namespace.ts";
import { identify, identifyChild, isAlive, signal } from "./linux/process.ts";
import { type Children, readChildren } from "./linux/process-children.ts";
import { podDir } from "./paths.ts";
import { removeFiles, unmountShm } from "./sandbox/files.ts";
import { endLostContainers, endLostPods } from "./sandbox/lost-pods.ts";
import { removePodCgroup } from "./sandbox/pod-cgroup.ts";
import { removeSandbox, removeTopCgroup } from "./sandbox/remove.ts";
import { stopSandbox } from "./sandbox/stop.ts";
import { endOrphans, pauseDied, supervise } from "./sandbox/supervise.ts";
import { superviseByLooking } from "./sandbox/supervise-by-looking.ts";
import type { ContainerRecord } from "./state/containers.ts";
import { isReady, type SandboxRecord } from "./state/sandboxes.ts";

/*
 * What a daemon does before it answers: it compares its records with the machine and settles the
 * differences. A record without its completion mark is an intent, which is undone; a pod whose
 * monitor lives goes on; what happened meanwhile is in the monitor's journal.
 */

/** How long the start waits for what may hang. */
const PATIENCE_MS = 5000;

/** Brings records and machine together; afterwards every sandbox and container is in a true state. */
export async function recover(runtime: Runtime): Promise<void> {
  await recoverCheckpoints(runtime);
  const children = readChildren();
  await endLostPods(runtime, children);
  // All at once: one that has to be waited for, up to a deadline, does not hold up the others.
  await Promise.all(runtime.sandboxes.list().map((record) => takeUp(runtime, record, children)));
  await undoUnfinishedContainers(runtime);
  await removeCgroupsOfEnded(runtime);
  await removeOrphanedSnapshots(runtime);
  removeOrphanedDirectories(runtime);
  const live = runtime.sandboxes.list().filter((record) => record.networkAttached);
  await runtime.network.reconcile(new Set(live.map(({ id }) => id)));
  await finishBegun(runtime);
  await runtime.images.collect(() => imagesInUse(runtime), "setAside");
}

/**
 * Goes on with the stops and removals that an earlier daemon had begun: its caller may never ask again. What takes
 * long, such as a plugin of the network that hangs, goes on beside the daemon's work.
 */
async function finishBegun(runtime: Runtime): Promise<void> {
  const finish = (id: string, work: Promise<void>) =>
    work.catch((err) => runtime.log.error({ err, id }, "a stop or removal could not be finished; repeat it"));
  const containers = runtime.containers.list().filter(({ isRemoving }) => isRemoving);
  await Promise.all(containers.map(({ id }) => finish(id, removeContainer(runtime, id))));
  const finished = Promise.all(
    runtime.sandboxes.list().map(({ id, isRemoving, end }) => {
      if (isRemoving) return finish(id, removeSandbox(runtime, id));
      return end?.isRequested ? finish(id, stopSandbox(runtime, id)) : undefined;
    }),
  );
  await withDeadline(finished, PATIENCE_MS, "finishing stops and removals").catch((err) =>
    runtime.log.warn({ err }, "stops and removals that were begun are not finished yet"),
  );
}

const TAKE_UP_ATTEMPTS = 5;
const TAKE_UP_PAUSE_MS = 100;

/** Takes up a pod. What cannot be opened or allocated just now may be a moment later, and the pod runs meanwhile. */
async function takeUp(runtime: Runtime, { id }: SandboxRecord, children: Children): Promise<void> {
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

async function recoverContainer(runtime: Runtime, monitor: Monitor, record: ContainerRecord): Promise<void> {
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
function isInterruptedOciStart(runtime: Runtime, record: ContainerRecord): boolean {
  const isStarting = containerState(record) === "created" && record.startingAtNs !== undefined;
  return isStarting && hasOciHandler(runtime, record);
}

/** Takes such a start back, once the monitor is listened to, whose child the runtime's command is. */
async function undoOciStart(runtime: Runtime, monitor: Monitor, record: ContainerRecord): Promise<void> {
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
  await withDeadline(detached, PATIENCE_MS, "giving back its network");
  await removePodCgroup(runtime, record);
  await runtime.snapshotter.remove(record.id);
  removeFiles(dir);
  runtime.sandboxes.delete(record.id);
  await removeTopCgroup(runtime);
}

/** What cannot be undone is tried again at the next start; a container without its completion mark is never listed. */
async function undoUnfinishedContainers(runtime: Runtime): Promise<void> {
  const unfinished = runtime.containers
    .list()
    .filter(({ created, sandboxId }) => !created || runtime.sandboxes.get(sandboxId) === undefined);
  await Promise.all(
    unfinished.map(async ({ id, cgroupPath }) => {
      await using cleanup = new Cleanup((_, err) =>
        runtime.log.error({ err, container: id }, "a container that was being made could not be undone"),
      );
      cleanup.add("undo its creation", async () => {
        await openCgroup(runtime.cgroups, cgroupPath).remove();
        await runtime.snapshotter.remove(id);
        runtime.containers.delete(id);
      });
    }),
  );
}

/** An exit is recorded before what it leaves is taken away; the daemon may have died in between. */
async function removeCgroupsOfEnded(runtime: Runtime): Promise<void> {
  const ended = runtime.containers.list().filter((record) => containerState(record) === "exited");
  await Promise.all(
    ended.map(async ({ id, cgroupPath }) => {
      const cgroup = openCgroup(runtime.cgroups, cgroupPath);
      if (!cgroup.exists()) return;
      // Processes that outlived the container keep it; so does its record, and its removal tries again.
      await twice(() => cgroup.remove()).catch((err) =>
        runtime.log.warn({ err, container: id }, "cgroup not removed"),
      );
    }),
  );
}

async function removeOrphanedSnapshots(runtime: Runtime): Promise<void> {
  for (const key of runtime.snapshotter.listSnapshots()) {
    const isOwned = runtime.containers.get(key) !== undefined || runtime.sandboxes.get(key) !== undefined;
    if (!isOwned) await runtime.snapshotter.remove(key);
  }
}

/** Run directories that no record owns: their mounts and pins go first. */
function removeOrphanedDirectories(runtime: Runtime): void {
  for (const name of readdirSync(runtime.paths.podsDir)) {
    if (runtime.sandboxes.get(name) !== undefined) continue;
    const dir = join(runtime.paths.podsDir, name);
    unpinNamespace(join(dir, "netns"));
    unmountShm(dir);
    removeFiles(dir);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import type { Table } from "../state/table.ts";
import { containerKeeper } from "./container-keeper.ts";
import { dueContainers, isOver, stepsOf } from "./container-order.ts";
import { newHooks } from "./hooks.ts";
import type { Clock, Lifecycle, SandboxView } from "./lifecycle.ts";
import { rotateLog } from "./log-rotation.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodObjects } from "./manifest/objects.ts";
import { graceSecondsOf, type Pod, type PodHome } from "./pod.ts";
import { podImages } from "./pod-images.ts";
import { podJob } from "./pod-job.ts";
import { podLimits } from "./pod-limits.ts";
import { podMemory } from "./pod-memory.ts";
import type { PodNote } from "./pod-note.ts";
import { podProbes, readinessOf } from "./pod-probes.ts";
import type { PodRecord } from "./pod-record.ts";
import type { ProbeAnswer } from "./prober.ts";
import { pullAuth } from "./pull-secret.ts";
import type { BackOff } from "./restart.ts";
import { isLive, stopContainers } from "./stop-containers.ts";
import { sandboxConfig } from "./to-cri.ts";
import { newTroubles, POD, type Trouble } from "./troubles.ts";
import { prepareVolumes, removePodFiles, writeHosts } from "./volumes.ts";

export interface WorkerDeps {
  readonly lifecycle: Lifecycle;
  readonly table: Table<PodRecord>;
  readonly clock: Clock;
  readonly home: PodHome;
  readonly backOff: BackOff;
  /** Hears of what a person who looks for a reason may want to know. */
  readonly log: (message: string, pod: Pod) => void;
  /** The records of the other pods of the same Job, and how to let them look at this one. */
  readonly othersOfJob: (pod: Pod) => readonly PodRecord[];
  readonly pokeOthersOfJob: (pod: Pod) => void;
  /** Hears of what becomes of the pod beyond what its sandbox and containers come to. */
  readonly note?: (note: PodNote, pod: Pod) => void;
}

/** Keeps one pod as its manifest wants it, one pass at a time. */
export interface PodWorker {
  record(): PodRecord;
  /** By container name; under the empty name, what the whole pod suffers from. */
  troubles(): ReadonlyMap<string, Trouble>;
  /** What the startup or readiness probe of a container answered last. */
  lastAnswer(containerId: string): ProbeAnswer | undefined;
  /** Gives the pod other objects: its volumes show them soon, its variables when a container starts anew. */
  update(objects: PodObjects): void;
  /** Something may have changed: compare and act, soon. */
  poke(): void;
  /** Stops the pod, and removes it if asked to; resolves when that is done. Less grace takes effect at once. */
  end(graceSeconds: number, remove: boolean): Promise<void>;
  /** Leaves the pod as it is and does no more; resolves when the pass in flight is over. */
  close(): Promise<void>;
}

/** Waits after a failed ending of a pod, which goes on until it succeeds. */
const END_BACK_OFF: BackOff = { firstMs: 500, maxMs: 30_000 };

/**
 * Starts keeping the pod of `initial`, which is in the table.
 *
 * Each pass compares what is wanted with what the runtime has and does the next steps; it holds no
 * state that the next pass could not find out, so a daemon that died at any point goes on here.
 */
export function startPodWorker(initial: PodRecord, deps: WorkerDeps, onGone: () => void): PodWorker {
  const { lifecycle, clock, home, backOff } = deps;
  const { pod } = initial;
  const abort = new AbortController();
  const memory = podMemory(initial, deps);
  const troubles = newTroubles(clock);
  const stopped = new Set<string>();
  const note = (what: PodNote) => deps.note?.(what, pod);
  const hooks = newHooks({ lifecycle, clock, log: (message) => deps.log(message, pod) });
  const probes = podProbes({ lifecycle, clock, memory, hooks, poke, note });
  const containers = containerKeeper({
    pod,
    lifecycle,
    clock,
    home,
    memory,
    troubles,
    hooks,
    probes,
    images: podImages(lifecycle, (image) => pullAuth(memory.record().pod, image), abort.signal, poke),
    sandboxes,
    suffer,
    isWaiting,
    wakeBy,
    log: (message) => deps.log(message, pod),
    note,
  });
  const limits = podLimits({ pod, memory, clock, home, lifecycle, sandboxes, fail, wakeBy });
  const job = podJob({
    pod,
    memory,
    clock,
    others: deps.othersOfJob,
    pokeOthers: deps.pokeOthersOfJob,
    discard: async ({ id }) => {
      await stopOnce(id);
      await lifecycle.removeSandbox(id);
    },
    fail,
    remove: () => void end(0, true),
    isEnding,
    wakeBy,
    poke,
  });
  let running: Promise<void> | undefined;
  let isDue = false;
  let isClosed = false;
  /** Of the stop in flight. */
  let stoppingSeconds: number | undefined;
  let cancelTimer = () => {};
  /** Whether volumes show what the record has, as far as this worker knows. */
  let hasVolumes = false;
  let wakeAtMs = Number.POSITIVE_INFINITY;
  let waiters: { readonly remove: boolean; readonly resolve: () => void }[] = [];

  function poke(): void {
    isDue = true;
    running ??= drain();
  }

  async function drain(): Promise<void> {
    // Leaves the caller's stack first, so that `running` is set before the first pass begins.
    await Promise.resolve();
    while (isDue && !isClosed) {
      isDue = false;
      cancelTimer();
      wakeAtMs = Number.POSITIVE_INFINITY;
      await onePass();
    }
    running = undefined;
    if (isClosed || wakeAtMs === Number.POSITIVE_INFINITY) return;
    cancelTimer = clock.after(Math.max(0, wakeAtMs - clock.nowMs()), poke);
  }

  async function onePass(): Promise<void> {
    if (troubles.get(POD)?.reason === "SyncError" && isWaiting(POD)) return;
    const { ending } = memory.record();
    try {
      await (ending === undefined ? keep() : finishEnding(ending));
      if (troubles.get(POD)?.reason === "SyncError") troubles.clear(POD);
    } catch (error) {
      suffer(POD, "SyncError", messageOf(error), ending === undefined ? backOff : END_BACK_OFF);
    }
  }

  function wakeBy(ms: number): void {
    wakeAtMs = Math.min(wakeAtMs, ms);
  }

  function suffer(name: string, reason: string, message: string, waits = backOff): void {
    wakeBy(troubles.add(name, reason, message, waits).notBeforeMs);
    deps.log(`${name === POD ? "pod" : `container ${name}`}: ${reason}: ${message}`, pod);
    note({ type: "trouble", container: name, reason, message });
  }

  function isWaiting(name: string): boolean {
    const untilMs = troubles.waitsUntilMs(name);
    if (untilMs > 0) wakeBy(untilMs);
    return untilMs > 0;
  }

  function isEnding(): boolean {
    return memory.record().ending !== undefined;
  }

  function sandboxes(): SandboxView[] {
    return lifecycle.sandboxesOf(pod).toSorted((a, b) => b.attempt - a.attempt);
  }

  async function keep(): Promise<void> {
    const found = sandboxes();
    const current = found[0]?.isReady ? found[0] : undefined;
    if (current !== undefined && !hasVolumes) {
      hasVolumes = true;
      await prepareVolumes(memory.record().pod, home);
    }
    const dead = found.filter((sandbox) => sandbox !== current);
    if (current !== undefined) memory.noteExits(current.id, "crash");
    for (const sandbox of dead) {
      await stopOnce(sandbox.id);
      memory.noteExits(sandbox.id, "sandbox");
    }
    await limits.note();
    if (await job.see(found)) return;
    if (isFinished(current)) {
      // The newest sandbox stays listed, stopped, so that its containers' ends and logs can be read.
      if (current !== undefined) {
        memory.save({ finishedSandboxId: current.id });
        probes.keepOnly(new Set());
        await stopWithGrace([current], graceSecondsOf(pod));
        memory.noteExits(current.id, "sandbox");
        await stopOnce(current.id);
      }
      for (const sandbox of found.slice(1)) await lifecycle.removeSandbox(sandbox.id);
      return;
    }
    for (const sandbox of dead) await replace(sandbox);
    const sandbox = current ?? (job.waiting() === undefined ? await makeSandbox() : undefined);
    if (sandbox === undefined || isEnding()) return;
    const views = lifecycle.containersOf(sandbox.id);
    probes.keepOnly(new Set(views.filter(({ state }) => state === "running").map(({ id }) => id)));
    const due = dueContainers(pod.spec, views, (container) =>
      views.some(
        (view) =>
          view.name === container.name &&
          view.state === "running" &&
          readinessOf(container, view, memory.container(view.name)).started,
      ),
    );
    for (const container of due) {
      if (!isEnding() && !isClosed) await containers.keep(container, sandbox);
    }
    await rotateLogs(sandbox);
  }

  async function rotateLogs(sandbox: SandboxView): Promise<void> {
    for (const container of lifecycle.containersOf(sandbox.id)) {
      if (container.state !== "running") continue;
      await rotateLog({
        pod,
        home,
        container,
        nowMs: clock.wallMs(),
        reopen: (id) => lifecycle.reopenLog(id),
      });
    }
  }

  /** A stopped sandbox never runs again, so a pod at rest costs nothing. */
  async function stopOnce(id: string): Promise<void> {
    if (stopped.has(id)) return;
    await lifecycle.stopSandbox(id);
    stopped.add(id);
  }

  function fail(reason: string, message: string): void {
    memory.save({ failure: { reason, message } });
    deps.log(message, pod);
    note({ type: "trouble", container: POD, reason, message });
  }

  function isFinished(current: SandboxView | undefined): boolean {
    const live = current === undefined ? [] : lifecycle.containersOf(current.id).filter(isLive);
    const runs = ({ name }: ContainerSpec) => live.some((view) => view.name === name);
    if (memory.record().failure !== undefined) return true;
    if ([...stepsOf(pod.spec), ...pod.spec.containers].some(runs)) return false;
    return isOver(pod.spec, memory.container);
  }

  async function replace(sandbox: SandboxView): Promise<void> {
    if (sandbox.endReason !== "") {
      memory.save({ lastSandboxEnd: sandbox.endReason });
      deps.log(`sandbox ${sandbox.id.slice(0, 13)} is replaced: ${sandbox.endReason}`, pod);
    }
    await lifecycle.removeSandbox(sandbox.id);
    stopped.delete(sandbox.id);
  }

  async function makeSandbox(): Promise<SandboxView | undefined> {
    if (isWaiting(POD)) return undefined;
    const attempt = memory.record().nextSandboxAttempt;
    let step = "FailedMount";
    try {
      await prepareVolumes(memory.record().pod, home);
      hasVolumes = true;
      step = "CreatePodSandboxError";
      memory.save({ nextSandboxAttempt: attempt + 1 });
      const id = await lifecycle.runSandbox(
        sandboxConfig(pod, attempt, home),
        pod.spec.runtimeClassName ?? "",
      );
      const sandbox = lifecycle.sandboxesOf(pod).find((view) => view.id === id);
      if (sandbox?.isReady) await writeHosts(pod, sandbox.addresses, home);
      troubles.clear(POD);
      // One that died at once is seen by the next pass.
      if (!sandbox?.isReady) poke();
      return sandbox?.isReady ? sandbox : undefined;
    } catch (error) {
      suffer(POD, step, messageOf(error));
      return undefined;
    }
  }

  async function finishEnding({ graceSeconds }: NonNullable<PodRecord["ending"]>): Promise<void> {
    const found = sandboxes();
    await stopWithGrace(found, graceSeconds);
    for (const { id } of found) {
      await stopOnce(id);
      memory.noteExits(id, "sandbox");
    }
    if (memory.record().ending?.remove !== true) return settle(false);
    for (const { id } of found) await lifecycle.removeSandbox(id);
    await removePodFiles(pod, home);
    memory.forget();
    isClosed = true;
    onGone();
    settle(true);
  }

  async function stopWithGrace(found: readonly SandboxView[], graceSeconds: number): Promise<void> {
    stoppingSeconds = graceSeconds;
    await Promise.all(
      found.map((sandbox) => stopContainers({ lifecycle, clock, hooks }, pod.spec, sandbox, graceSeconds)),
    ).finally(() => {
      stoppingSeconds = undefined;
    });
  }

  function settle(isRemoved: boolean): void {
    const done = waiters.filter((waiter) => isRemoved || !waiter.remove);
    waiters = waiters.filter((waiter) => !done.includes(waiter));
    for (const { resolve } of done) resolve();
  }

  function end(graceSeconds: number, remove: boolean): Promise<void> {
    const before = memory.record().ending;
    memory.save({
      ending: {
        graceSeconds: Math.min(graceSeconds, before?.graceSeconds ?? graceSeconds),
        remove: remove || before?.remove === true,
      },
    });
    abort.abort();
    probes.keepOnly(new Set());
    troubles.clearAll();
    if (stoppingSeconds !== undefined && graceSeconds < stoppingSeconds) {
      // The pass in flight waits for longer; what a shorter stop cannot do, that pass reports.
      for (const sandbox of sandboxes()) {
        void stopContainers({ lifecycle, clock, hooks }, pod.spec, sandbox, graceSeconds).catch(() => {});
      }
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    waiters.push({ remove, resolve });
    poke();
    return promise;
  }

  function update(objects: PodObjects): void {
    memory.save({ pod: { ...memory.record().pod, objects } });
    hasVolumes = false;
    poke();
  }

  async function close(): Promise<void> {
    isClosed = true;
    cancelTimer();
    abort.abort();
    probes.keepOnly(new Set());
    await running;
  }

  poke();
  const allTroubles = () => {
    const waiting = job.waiting();
    return waiting === undefined ? troubles.all() : new Map([...troubles.all(), [POD, waiting]]);
  };
  return {
    record: memory.record,
    troubles: allTroubles,
    lastAnswer: probes.lastAnswer,
    update,
    poke,
    end,
    close,
  };
}

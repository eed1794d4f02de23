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
import { podEnd } from "./pod-end.ts";
import { podImages } from "./pod-images.ts";
import { podJob } from "./pod-job.ts";
import { podLimits } from "./pod-limits.ts";
import { podMemory } from "./pod-memory.ts";
import type { PodNote } from "./pod-note.ts";
import { podProbes, readinessOf } from "./pod-probes.ts";
import type { PodRecord } from "./pod-record.ts";
import { podSandboxes } from "./pod-sandboxes.ts";
import type { ProbeAnswer } from "./prober.ts";
import { pullAuth } from "./pull-secret.ts";
import type { BackOff } from "./restart.ts";
import { isLive } from "./stop-containers.ts";
import { newTroubles, POD, type Trouble } from "./troubles.ts";

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
  const note = (what: PodNote) => deps.note?.(what, pod);
  const log = (message: string) => deps.log(message, pod);
  const hooks = newHooks({ lifecycle, clock, log });
  const sandboxes = podSandboxes({
    pod,
    lifecycle,
    home,
    memory,
    suffer,
    isWaiting,
    recovered: () => troubles.clear(POD),
    log,
    poke,
  });
  const ends = podEnd({
    pod,
    lifecycle,
    clock,
    home,
    hooks,
    memory,
    sandboxes,
    onGone() {
      isClosed = true;
      onGone();
    },
  });
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
    sandboxes: sandboxes.list,
    suffer,
    isWaiting,
    wakeBy,
    log,
    note,
  });
  const limits = podLimits({
    pod,
    memory,
    clock,
    home,
    lifecycle,
    sandboxes: sandboxes.list,
    fail,
    wakeBy,
  });
  const job = podJob({
    pod,
    memory,
    clock,
    others: deps.othersOfJob,
    pokeOthers: deps.pokeOthersOfJob,
    discard: async ({ id }) => {
      await sandboxes.stop(id);
      await sandboxes.remove(id);
    },
    fail,
    remove: (graceSeconds) => void end(graceSeconds, true),
    isEnding,
    wakeBy,
    poke,
  });
  let running: Promise<void> | undefined;
  let isDue = false;
  let isClosed = false;
  let cancelTimer = () => {};
  let wakeAtMs = Number.POSITIVE_INFINITY;

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
      await (ending === undefined ? keep() : ends.finish(ending));
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

  async function keep(): Promise<void> {
    const found = sandboxes.list();
    const current = found[0]?.isReady ? found[0] : undefined;
    if (current !== undefined) await sandboxes.refreshVolumes();
    const dead = found.filter((sandbox) => sandbox !== current);
    if (current !== undefined) memory.noteExits(current.id, "crash");
    for (const sandbox of dead) {
      await sandboxes.stop(sandbox.id);
      memory.noteExits(sandbox.id, "sandbox");
      if (sandbox.lostAtNs !== undefined) memory.noteDisruption(sandbox.id, sandbox.lostAtNs);
    }
    await limits.note();
    if (await job.see(found)) return;
    if (isFinished(current)) {
      // The newest sandbox stays listed, stopped, so that its containers' ends and logs can be read.
      if (current !== undefined) {
        memory.save({ finishedSandboxId: current.id });
        probes.keepOnly(new Set());
        await ends.stopContainersOf([current], graceSecondsOf(pod));
        memory.noteExits(current.id, "sandbox");
        await sandboxes.stop(current.id);
      }
      for (const sandbox of found.slice(1)) await sandboxes.remove(sandbox.id);
      return;
    }
    for (const sandbox of dead) await sandboxes.replace(sandbox);
    const sandbox = current ?? (job.waiting() === undefined ? await sandboxes.make() : undefined);
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

  function end(graceSeconds: number, remove: boolean): Promise<void> {
    abort.abort();
    probes.keepOnly(new Set());
    troubles.clearAll();
    const done = ends.begin(graceSeconds, remove);
    poke();
    return done;
  }

  function update(objects: PodObjects): void {
    memory.save({ pod: { ...memory.record().pod, objects } });
    sandboxes.forgetVolumes();
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

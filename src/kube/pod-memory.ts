// SPDX-License-Identifier: Apache-2.0
import type { Table } from "../state/table.ts";
import { allContainers, stepsOf } from "./container-order.ts";
import type { Clock, ContainerView, Lifecycle } from "./lifecycle.ts";
import { type Pod, type PodHome, podKey } from "./pod.ts";
import type { ContainerMemory, PodRecord } from "./pod-record.ts";
import type { Readiness } from "./prober.ts";
import { afterExit, type BackOff, NEVER_RAN } from "./restart.ts";
import { readMessage } from "./termination-message.ts";

/** The record of one kept pod: what is changed is in the table before the call returns. */
export interface PodMemory {
  record(): PodRecord;
  save(change: Partial<PodRecord>): void;
  container(name: string): ContainerMemory;
  /** The next container of this name gets the attempt after this one. */
  noteAttempt(name: string, attempt: number): void;
  /** Remembers how the containers of a sandbox ended, each once. */
  noteExits(sandboxId: string, cause: "crash" | "sandbox"): void;
  /** Remembers of the exits that a sandbox took along, when it ended at `lostAtNs`, that it did. */
  noteDisruption(sandboxId: string, lostAtNs: string): void;
  noteReadiness(name: string, containerId: string, readiness: Readiness): void;
  notePostStart(name: string, containerId: string): void;
  /** The container with this id is to be ended. */
  noteUnhealthy(name: string, containerId: string, message: string, graceSeconds: number | undefined): void;
  forget(): void;
}

export interface MemoryDeps {
  readonly lifecycle: Pick<Lifecycle, "containersOf">;
  readonly table: Table<PodRecord>;
  readonly clock: Clock;
  readonly backOff: BackOff;
  readonly home: PodHome;
}

/** Processes that share the pause's namespace are told of before it, though it ended first. */
const TAKEN_ALONG_NS = 2_000_000_000n;

export function podMemory(initial: PodRecord, deps: MemoryDeps): PodMemory {
  const key = podKey(initial.pod);
  // One that succeeds has done its work: that it does so again in a later sandbox is no crashing.
  const steps = new Set(stepsOf(initial.pod.spec).map(({ name }) => name));
  let record = withoutLateStarts(initial, deps);
  const save = (change: Partial<PodRecord>) => {
    record = { ...record, ...change };
    deps.table.put(key, record);
  };
  const container = (name: string) => record.containers[name] ?? NEVER_RAN;
  const remember = (name: string, memory: ContainerMemory) => {
    if (memory !== record.containers[name]) save({ containers: { ...record.containers, [name]: memory } });
  };
  return {
    record: () => record,
    save,
    container,
    noteAttempt: (name, attempt) => remember(name, { ...container(name), nextAttempt: attempt + 1 }),
    noteExits(sandboxId, cause) {
      const views = deps.lifecycle.containersOf(sandboxId).toSorted((a, b) => a.attempt - b.attempt);
      for (const view of views) {
        if (view.state !== "exited" && view.state !== "unknown") continue;
        const memory = container(view.name);
        // Older attempts were noted in their time; noting them again would hide the newest exit.
        if (view.attempt < (memory.lastExit?.attempt ?? 0)) continue;
        if (memory.lastExit?.containerId === view.id) continue;
        const isDone = view.exitCode === 0 && steps.has(view.name);
        const ended = { ...view, message: withLastWords(initial.pod, view, deps.home) };
        const counted = isDone ? "sandbox" : cause;
        remember(view.name, afterExit(memory, ended, counted, deps.clock.nowMs(), deps.backOff));
      }
    },
    noteDisruption(sandboxId, lostAtNs) {
      const ids = new Set(deps.lifecycle.containersOf(sandboxId).map(({ id }) => id));
      for (const [name, memory] of Object.entries(record.containers)) {
        const { lastExit } = memory;
        if (lastExit === undefined || lastExit.isDisrupted || !ids.has(lastExit.containerId)) continue;
        if (BigInt(lastExit.finishedAtNs) < BigInt(lostAtNs) - TAKEN_ALONG_NS) continue;
        remember(name, { ...memory, lastExit: { ...lastExit, isDisrupted: true } });
      }
    },
    noteReadiness: (name, containerId, readiness) =>
      remember(name, { ...container(name), readiness: { containerId, ...readiness } }),
    notePostStart: (name, containerId) => remember(name, { ...container(name), postStartedId: containerId }),
    noteUnhealthy: (name, containerId, message, graceSeconds) =>
      remember(name, {
        ...container(name),
        unhealthy: { containerId, message, ...(graceSeconds === undefined ? {} : { graceSeconds }) },
      }),
    forget: () => deps.table.delete(key),
  };
}

/** What the runtime says of a container's end, and what the container has said itself. */
function withLastWords(pod: Pod, view: ContainerView, home: PodHome): string {
  const container = allContainers(pod.spec).find(({ name }) => name === view.name);
  if (container === undefined) return view.message;
  const words = readMessage(home, pod, container, view.attempt, view.exitCode);
  return [view.message, words].filter((part) => part !== "").join(": ");
}

/** A clock that was set back while the daemon was away must not lengthen a wait. */
function withoutLateStarts(record: PodRecord, { clock, backOff }: MemoryDeps): PodRecord {
  const latestMs = clock.nowMs() + backOff.maxMs;
  const containers = Object.entries(record.containers).map(
    ([name, memory]) => [name, { ...memory, notBeforeMs: Math.min(memory.notBeforeMs, latestMs) }] as const,
  );
  return { ...record, containers: Object.fromEntries(containers) };
}

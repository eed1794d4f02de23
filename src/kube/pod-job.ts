// SPDX-License-Identifier: Apache-2.0
import { begunAnew, expiryMs, isDone, jobStep, reasonToWait } from "./job.ts";
import type { Clock, SandboxView } from "./lifecycle.ts";
import { graceSecondsOf, type Pod } from "./pod.ts";
import type { PodMemory } from "./pod-memory.ts";
import type { PodRecord } from "./pod-record.ts";
import type { Trouble } from "./troubles.ts";

/** What being of a Job means for a pod; nothing for one that is of none. */
export interface PodJob {
  /** Does what the Job asks for now; true where nothing else is to be done with the pod in this pass. */
  see(sandboxes: readonly SandboxView[]): Promise<boolean>;
  /** What the pod waits for before it begins, as its status shows it. */
  waiting(): Trouble | undefined;
}

export interface JobDeps {
  readonly pod: Pod;
  readonly memory: Pick<PodMemory, "record" | "save">;
  readonly clock: Clock;
  readonly others: (pod: Pod) => readonly PodRecord[];
  readonly pokeOthers: (pod: Pod) => void;
  /** Takes a sandbox away, of which nothing is kept. */
  readonly discard: (sandbox: SandboxView) => Promise<void>;
  readonly fail: (reason: string, message: string) => void;
  /** Removes the pod; its containers have so long to end. */
  readonly remove: (graceSeconds: number) => void;
  readonly isEnding: () => boolean;
  readonly wakeBy: (ms: number) => void;
  readonly poke: () => void;
}

/** The end of a pause is known so long after the ends of the processes in its namespace, at most. */
const SETTLE_MS = 1000;

const NO_JOB: PodJob = { see: async () => false, waiting: () => undefined };

export function podJob(deps: JobDeps): PodJob {
  const { pod, memory, clock, fail, isEnding } = deps;
  if (pod.job === undefined) return NO_JOB;
  const others = () => deps.others(pod);

  let settling = { exits: "", untilMs: 0 };
  /** Whether it may yet turn out that the pause took the containers along, which a rule asks about. */
  function isSettling(): boolean {
    const isAsked = pod.job?.failureRules?.some(({ onPodConditions = [] }) => onPodConditions.length > 0);
    if (!isAsked || !pod.spec.shareProcessNamespace) return false;
    const ends = Object.values(memory.record().containers).flatMap(({ lastExit }) => lastExit ?? []);
    if (ends.some(({ isDisrupted }) => isDisrupted)) return false;
    const exits = ends.map(({ containerId }) => containerId).join();
    if (exits !== settling.exits) settling = { exits, untilMs: clock.nowMs() + SETTLE_MS };
    if (clock.nowMs() >= settling.untilMs) return false;
    deps.wakeBy(settling.untilMs);
    return true;
  }

  /** A pod that has failed is run anew when it is time, or given up, with all others. */
  async function beginsAnew(sandboxes: readonly SandboxView[]): Promise<boolean> {
    const step = jobStep(memory.record(), clock.nowMs(), others());
    if (step === undefined || isEnding()) return false;
    if (isSettling()) return true;
    if (step.kind === "give up") {
      fail(step.reason, step.message);
      return false;
    }
    if (step.kind === "needless") {
      deps.remove(graceSecondsOf(pod));
      return true;
    }
    if (step.atMs > clock.nowMs()) {
      if (memory.record().retryAtMs === undefined) memory.save({ retryAtMs: step.atMs });
      deps.wakeBy(step.atMs);
      return false;
    }
    for (const sandbox of sandboxes) await deps.discard(sandbox);
    memory.save(begunAnew(memory.record(), step));
    deps.poke();
    return true;
  }

  function noteEnd(): void {
    if (memory.record().finishedAtMs === undefined && isDone(memory.record(), others())) {
      memory.save({ finishedAtMs: clock.nowMs() });
      deps.pokeOthers(pod);
    }
    const atMs = expiryMs(memory.record(), others());
    if (atMs === undefined || isEnding()) return;
    if (atMs <= clock.nowMs()) deps.remove(0);
    else deps.wakeBy(atMs);
  }

  return {
    async see(sandboxes) {
      if (await beginsAnew(sandboxes)) return true;
      noteEnd();
      return false;
    },
    waiting() {
      const message = reasonToWait(memory.record(), others());
      if (message === undefined || hasBegun(memory.record()) || isEnding()) return undefined;
      return { reason: "Waiting", message, failures: 0, notBeforeMs: 0 };
    },
  };
}

/** One that has begun goes on; what it waits for is somebody else then. */
function hasBegun({ nextSandboxAttempt, failure }: PodRecord): boolean {
  return nextSandboxAttempt > 0 || failure !== undefined;
}

// SPDX-License-Identifier: Apache-2.0
import { JsonText } from "../lib/json-text.ts";
import { type Operation, observeOperations } from "../lib/operation.ts";

/*
 * Where the time of the last operations on each sandbox and container went, for verbose status: kept in memory, by this
 * daemon only, until the object is removed.
 */

/** The last operation of its name on one object. */
export interface Timing {
  readonly operation: string;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** `OK`, or the word for the failure. */
  readonly code: string;
  /** Milliseconds by phase, in the order in which the phases were begun first. */
  readonly phasesMs: Readonly<Record<string, number>>;
}

/** Objects that are remembered; beyond it the one is forgotten about which nothing was noted for the longest time. */
const SUBJECTS_LIMIT = 4096;
const REMOVALS: ReadonlySet<string> = new Set(["RemovePodSandbox", "RemoveContainer"]);

const bySubject = new Map<string, JsonText<readonly Timing[]>>();
const underWay = new WeakMap<Operation, Map<string, number>>();

observeOperations({
  phaseEnded(operation, name, startedAtMs, endedAtMs) {
    const phases = underWay.get(operation) ?? new Map<string, number>();
    underWay.set(operation, phases);
    phases.set(name, (phases.get(name) ?? 0) + endedAtMs - startedAtMs);
  },
  ended(operation, { code, endedAtMs }) {
    const { subject, name, startedAtMs } = operation;
    if (subject === undefined) return;
    if (REMOVALS.has(name) && code === "OK") {
      bySubject.delete(subject);
      return;
    }
    const phases = [...(underWay.get(operation) ?? [])].map(([phase, ms]) => [phase, rounded(ms)]);
    note(subject, {
      operation: name,
      startedAt: new Date(startedAtMs).toISOString(),
      durationMs: rounded(endedAtMs - startedAtMs),
      code,
      phasesMs: Object.fromEntries(phases),
    });
  },
});

function note(subject: string, timing: Timing): void {
  const others = timingsOf(subject).filter(({ operation }) => operation !== timing.operation);
  // At the end of the map stands what was noted last.
  bySubject.delete(subject);
  bySubject.set(subject, new JsonText([...others, timing]));
  const [oldest] = bySubject.keys();
  if (bySubject.size > SUBJECTS_LIMIT && oldest !== undefined) bySubject.delete(oldest);
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** What is known of the sandbox or container `id`, the last operation last. */
export function timingsOf(id: string): readonly Timing[] {
  return bySubject.get(id)?.value ?? [];
}

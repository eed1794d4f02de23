// SPDX-License-Identifier: Apache-2.0
import type { Timing } from "../../telemetry/stopwatch.ts";
import { duration, timestamp } from "../human.ts";
import type { LikelyCause } from "./likely-cause.ts";

/** Why one pod or container is as it is. */
export interface Story {
  readonly kind: "pod" | "container";
  /** As in `demo` or `demo/app1`. */
  readonly name: string;
  /** Empty where there is no sandbox or container. */
  readonly id: string;
  /** A word: Running, CrashLoopBackOff, Exited. */
  readonly state: string;
  readonly isWell: boolean;
  /** What is known, each a sentence, the most important first. */
  readonly facts: readonly string[];
  readonly failedStep?: { readonly step: string; readonly errno: string };
  readonly likely?: LikelyCause;
  /** When it is tried again, as ISO 8601. */
  readonly nextTryAt?: string;
  readonly times: readonly Moment[];
  /** Where the time of the last operations on it went, as the daemon's stopwatch has it. */
  readonly operations: readonly Timing[];
  /** The last lines that it wrote. */
  readonly log: readonly string[];
}

/** Who asked for its end, where the daemon has seen that since it was started: undefined where nobody did. */
export function requestedStop(timings: readonly Timing[]): string | undefined {
  const stop = timings.findLast(({ operation }) => STOPS.has(operation));
  return stop && `Podrt was asked to end it: ${stop.operation} at ${stop.startedAt}.`;
}

const STOPS: ReadonlySet<string> = new Set(["StopContainer", "StopPodSandbox"]);

/** A moment in its life. */
export interface Moment {
  readonly what: string;
  /** ISO 8601. */
  readonly at: string;
  /** Since the moment before; absent for the first. */
  readonly afterMs?: number;
}

/** The moments that have come, given as nanoseconds since 1970 with 0 for those that have not, in their order. */
export function moments(named: readonly (readonly [what: string, atNs: bigint])[]): Moment[] {
  const known = named.filter(([, atNs]) => atNs > 0n);
  return known.map(([what, atNs], index) => {
    const before = known[index - 1]?.[1];
    const at = timestamp(atNs);
    return before === undefined
      ? { what, at }
      : { what, at, afterMs: Number((atNs - before) / 1000n) / 1000 };
  });
}

type Paint = (text: string, color: "green" | "yellow" | "red") => string;

/** A story as a person reads it; ends with a newline. */
export function tell(story: Story, paint: Paint, nowMs: number): string {
  const { kind, name, state, isWell, facts, failedStep, likely, nextTryAt, times, operations, log } = story;
  const lines = [`${kind} ${name}: ${paint(state, isWell ? "green" : "red")}`];
  for (const fact of facts) lines.push(`  ${fact.replaceAll("\n", "\n  ")}`);
  if (failedStep !== undefined) lines.push(`  Failed step: ${failedStep.step} (${failedStep.errno})`);
  if (likely !== undefined) lines.push(`  Likely cause: ${likely.cause}`, `  What to do: ${likely.advice}`);
  if (nextTryAt !== undefined) {
    const inMs = Date.parse(nextTryAt) - nowMs;
    lines.push(inMs > 0 ? `  Next try: in ${duration(inMs)} (${nextTryAt})` : "  Next try: now");
  }
  if (times.length > 0) {
    lines.push("  Times:");
    for (const { what, at, afterMs } of times) {
      lines.push(
        `    ${at}  ${what}${afterMs === undefined ? "" : `, ${duration(Math.max(0, afterMs))} later`}`,
      );
    }
  }
  if (operations.length > 0) lines.push("  Took:", ...operations.map(timingLine));
  if (log.length > 0) lines.push("  Last lines:", ...log.map((line) => `    ${line}`));
  return `${lines.join("\n")}\n`;
}

function timingLine({ operation, durationMs, code, phasesMs }: Timing): string {
  const phases = Object.entries(phasesMs).map(([name, ms]) => `${name} ${duration(ms)}`);
  const parts = phases.length === 0 ? "" : ` (${phases.join(", ")})`;
  return `    ${operation} ${duration(durationMs)}${code === "OK" ? "" : `, failed with ${code}`}${parts}`;
}

// SPDX-License-Identifier: Apache-2.0
import type { ERRNO } from "../../src/linux/abi/errno.ts";
import type { Operation } from "./operations.ts";
import type { Round, Sweep } from "./sweep.ts";

/** What happens at a point. */
export type Kind = "die" | "die twice" | "fail" | "fail at the start";

export interface PlanOptions {
  readonly kind: Kind;
  /** Between 0 and 1: where among the points the first one lies. */
  readonly offset: number;
  /** How long all of it may take: no operation begins a new round after its part of that, but each has one. */
  readonly limitMs: number;
  /** Which operations; all of them unless told. */
  readonly operations?: readonly Operation[];
  /** Hears of each operation that is done. */
  readonly report?: (line: string) => void;
}

export interface Tally {
  rounds: number;
  /** Rounds in which the call came to its point. */
  hits: number;
  /** One text for each round that went wrong. */
  readonly failures: string[];
}

export const ERRORS: readonly (keyof typeof ERRNO)[] = [
  "EIO",
  "ENOSPC",
  "ENOMEM",
  "EMFILE",
  "EINTR",
  "EAGAIN",
];
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Goes through the points of every operation, spread evenly however early the time is over. */
export async function runPlan(
  sweep: Sweep,
  { kind, offset, limitMs, operations = sweep.operations, report }: PlanOptions,
): Promise<Tally> {
  const tally: Tally = { rounds: 0, hits: 0, failures: [] };
  for (const operation of operations) {
    const endMs = performance.now() + limitMs / operations.length;
    const { all, changes } = await sweep.count(operation);
    const starts = isAtStart(kind) ? await sweep.countStart(operation) : undefined;
    const points = spread(kind === "fail" ? all : changes, offset);
    const startPoints = spread((kind === "die twice" ? starts?.changes : starts?.all) ?? 0, offset);
    // Every point of a start has its turn, with whatever the call had come to.
    const rounds = Math.max(points.length, startPoints.length);
    let round = 0;
    for (; round < rounds && (round === 0 || performance.now() < endMs); round += 1) {
      const point = points[round % points.length]!;
      const startPoint = startPoints[round % Math.max(1, startPoints.length)] ?? 0;
      const done = await runRound(sweep, kind, operation, point, startPoint);
      tally.hits += done.wasHit ? 1 : 0;
      if (done.problems.length > 0) tally.failures.push(textOf(kind, operation, [point, startPoint], done));
    }
    tally.rounds += round;
    report?.(`${kind}: ${operation.name}, ${round} of ${rounds} points`);
  }
  return tally;
}

function isAtStart(kind: Kind): boolean {
  return kind === "die twice" || kind === "fail at the start";
}

function runRound(
  sweep: Sweep,
  kind: Kind,
  operation: Operation,
  point: number,
  startPoint: number,
): Promise<Round> {
  if (kind === "die") return sweep.dieAt(operation, point);
  if (kind === "die twice") return sweep.dieAt(operation, point, { point: startPoint });
  if (kind === "fail") return sweep.failAt(operation, point, errorOf(point));
  return sweep.dieAt(operation, point, { point: startPoint, errno: errorOf(point + startPoint) });
}

function errorOf(number: number): keyof typeof ERRNO {
  return ERRORS[number % ERRORS.length] as keyof typeof ERRNO;
}

/** The numbers from 1 to `count`, each once, any first few of them far apart. */
function spread(count: number, offset: number): number[] {
  const points = new Set<number>();
  for (let step = 0; points.size < count; step += 1) {
    points.add(1 + Math.floor(((offset + step * GOLDEN) % 1) * count));
  }
  return [...points];
}

function textOf(
  kind: Kind,
  { name }: Operation,
  [point, startPoint]: readonly [number, number],
  { place, problems }: Round,
): string {
  const where = isAtStart(kind) ? `${point} and ${startPoint} of the start` : String(point);
  return [`${name}, ${kind} at point ${where}: ${place.trim()}`, ...new Set(problems)].join("\n    ");
}

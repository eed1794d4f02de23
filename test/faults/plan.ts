// SPDX-License-Identifier: Apache-2.0
import type { ERRNO } from "../../src/linux/abi/errno.ts";
import type { Operation } from "./operations.ts";
import type { Round, Sweep } from "./sweep.ts";

/** What happens at a point. */
export type Kind = "die" | "die twice" | "fail";

export interface PlanOptions {
  readonly kind: Kind;
  /** Between 0 and 1: where among the points the first one lies. */
  readonly offset: number;
  /** How long an operation may take, of those that there are; no new round is begun after it. */
  readonly limitMs: number;
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

const ERRORS: readonly (keyof typeof ERRNO)[] = ["EIO", "ENOSPC", "ENOMEM", "EMFILE", "EINTR", "EAGAIN"];
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** A start passes about so many points before the daemon answers. */
const START_POINTS = 60;

/** Goes through the points of every operation, spread evenly however early the time is over. */
export async function runPlan(sweep: Sweep, { kind, offset, limitMs, report }: PlanOptions): Promise<Tally> {
  const tally: Tally = { rounds: 0, hits: 0, failures: [] };
  for (const operation of sweep.operations) {
    const endMs = performance.now() + limitMs / sweep.operations.length;
    const { all, changes } = await sweep.count(operation);
    const points = spread(kind === "fail" ? all : changes, offset);
    let rounds = 0;
    for (const point of points) {
      if (rounds > 0 && performance.now() > endMs) break;
      rounds += 1;
      const round = await runRound(sweep, kind, operation, point);
      tally.hits += round.wasHit ? 1 : 0;
      if (round.problems.length > 0) tally.failures.push(textOf(kind, operation, point, round));
    }
    tally.rounds += rounds;
    report?.(`${kind}: ${operation.name}, ${rounds} of ${points.length} points`);
  }
  return tally;
}

function runRound(sweep: Sweep, kind: Kind, operation: Operation, point: number): Promise<Round> {
  if (kind === "die") return sweep.dieAt(operation, point);
  if (kind === "die twice") return sweep.dieTwiceAt(operation, point, 1 + ((point * 7) % START_POINTS));
  return sweep.failAt(operation, point, ERRORS[point % ERRORS.length] as keyof typeof ERRNO);
}

/** The numbers from 1 to `count`, each once, any first few of them far apart. */
function spread(count: number, offset: number): number[] {
  const points = new Set<number>();
  for (let step = 0; points.size < count; step += 1) {
    points.add(1 + Math.floor(((offset + step * GOLDEN) % 1) * count));
  }
  return [...points];
}

function textOf(kind: Kind, { name }: Operation, point: number, { place, problems }: Round): string {
  return [`${name}, ${kind} at point ${point}: ${place.trim()}`, ...new Set(problems)].join("\n    ");
}

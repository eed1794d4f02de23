// SPDX-License-Identifier: Apache-2.0
import { BPF_JEQ, BPF_JGE } from "../abi/bpf.ts";
import { argumentRanges } from "./argument-ranges.ts";
import type { BackwardAssembler, Label } from "./assembler.ts";
import { type ArgumentBits, writeCondition, writeHalf } from "./condition.ts";
import { keyOf, type Range, type Target } from "./range.ts";
import type { Outcome } from "./rules.ts";

/** The searches of one filter: what one has written is used by the others. */
export interface Searches {
  readonly program: BackwardAssembler;
  /** Where the tests of outcomes are, by the width of arguments and `keyOf`. */
  readonly written: Map<string, Label>;
}

/** Numbers from `first` on, up to the next stretch, to which one thing happens but for a few. */
interface Stretch {
  readonly first: number;
  readonly common: Target;
  readonly exceptions: readonly Range[];
}

/** More would save instructions still, and take more time in calls for which the kernel has to run the filter. */
const MOST_EXCEPTIONS = 3;

/**
 * Leads to the target of the number in the accumulator; answers where it begins. A balanced tree of comparisons finds
 * a stretch of neighbouring ranges, in which the few numbers that differ from those around them are told apart one by
 * one. That takes fewer instructions than a tree of all ranges, and a comparison more for each of these few at most.
 */
export function writeSearch(searches: Searches, ranges: readonly Range[], bits: ArgumentBits): Label {
  const stretches = stretchesOf(ranges);
  const write = (from: number, to: number): Label => {
    const middle = (from + to) >> 1;
    const stretch = stretches[middle] as Stretch;
    if (to - from === 1) return writeStretch(searches, stretch, bits);
    const upper = write(middle, to);
    const lower = write(from, middle);
    return searches.program.branch(BPF_JGE, stretch.first, upper, lower);
  };
  return write(0, stretches.length);
}

/** As few stretches as there can be: each is as long as it gets. */
function stretchesOf(ranges: readonly Range[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (let at = 0; at < ranges.length; ) {
    const candidates = ranges.slice(at, at + 2).map(({ target }) => longestFrom(ranges, at, target));
    const longest = candidates.reduce((best, other) => (other.count > best.count ? other : best));
    stretches.push(longest);
    at += longest.count;
  }
  return stretches;
}

function longestFrom(ranges: readonly Range[], from: number, common: Target): Stretch & { count: number } {
  const exceptions: Range[] = [];
  const key = keyOf(common);
  let at = from;
  for (; at < ranges.length; at += 1) {
    const range = ranges[at] as Range;
    if (keyOf(range.target) === key) continue;
    const isOneNumber = ranges[at + 1]?.first === range.first + 1;
    if (!isOneNumber || exceptions.length === MOST_EXCEPTIONS) break;
    exceptions.push(range);
  }
  return { first: (ranges[from] as Range).first, common, exceptions, count: at - from };
}

function writeStretch(searches: Searches, { common, exceptions }: Stretch, bits: ArgumentBits): Label {
  return exceptions.reduceRight(
    (others, { first, target }) => {
      const found = writeTarget(searches, target, bits);
      return searches.program.branch(BPF_JEQ, first, found, others);
    },
    writeTarget(searches, common, bits),
  );
}

/** Writes the tests of an outcome, or finds those of an equal one. */
function writeTarget(searches: Searches, target: Target, bits: ArgumentBits): Label {
  if (typeof target === "number") return target;
  const { program, written } = searches;
  if (target.alternatives.length === 0) return program.return(target.otherwise);
  const key = `${bits} ${keyOf(target)}`;
  const start = written.get(key) ?? writeTests(searches, target, bits);
  written.set(key, start);
  return start;
}

function writeTests(searches: Searches, outcome: Outcome, bits: ArgumentBits): Label {
  const { program } = searches;
  const argument = argumentRanges(outcome, bits);
  if (argument !== undefined) {
    const { index, ranges, beyond } = argument;
    const low = writeHalf(program, index, "low", writeSearch(searches, ranges, bits));
    if (bits === 32) return low;
    return writeHalf(program, index, "high", program.branch(BPF_JEQ, 0, low, program.return(beyond)));
  }
  let start = program.return(outcome.otherwise);
  for (const { conditions, answer } of outcome.alternatives.toReversed()) {
    const fails = start;
    let holds = program.return(answer);
    for (const condition of conditions.toReversed()) {
      holds = writeCondition(program, condition, bits, holds, fails);
    }
    start = holds;
  }
  return start;
}

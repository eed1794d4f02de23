// SPDX-License-Identifier: Apache-2.0
import type { ArgumentBits } from "./condition.ts";
import type { SeccompCondition, SeccompOperator } from "./profile.ts";
import { always, type Range, rangesBetween } from "./range.ts";
import type { Outcome } from "./rules.ts";

/** An outcome as a search: for what the low half of one argument is, where its high half is 0, and otherwise. */
interface ArgumentRanges {
  readonly index: number;
  readonly ranges: readonly Range[];
  readonly beyond: number;
}

const FIRST_BEYOND = 1n << 32n;

/** Which values of an argument a comparison holds for, and from which on it is otherwise. */
interface Comparison {
  readonly holds: (value: bigint, bound: bigint) => boolean;
  /** Added to its bound, where that changes. */
  readonly edges: readonly bigint[];
}

const COMPARISONS: Partial<Record<SeccompOperator, Comparison>> = {
  SCMP_CMP_EQ: { holds: (value, bound) => value === bound, edges: [0n, 1n] },
  SCMP_CMP_NE: { holds: (value, bound) => value !== bound, edges: [0n, 1n] },
  SCMP_CMP_LT: { holds: (value, bound) => value < bound, edges: [0n] },
  SCMP_CMP_LE: { holds: (value, bound) => value <= bound, edges: [1n] },
  SCMP_CMP_GT: { holds: (value, bound) => value > bound, edges: [1n] },
  SCMP_CMP_GE: { holds: (value, bound) => value >= bound, edges: [0n] },
};

/**
 * The outcome as ranges of the one argument that all of its tests compare; undefined where they look at several
 * arguments or at single bits, or where values with anything in their high half are not all alike.
 */
export function argumentRanges(outcome: Outcome, bits: ArgumentBits): ArgumentRanges | undefined {
  const { alternatives, otherwise } = outcome;
  const [index] = alternatives.flatMap(({ conditions }) => conditions.map((condition) => condition.index));
  const isOfOne = alternatives.every(({ conditions: [only, ...others] }) => {
    return only?.index === index && others.length === 0 && COMPARISONS[only?.op ?? "SCMP_CMP_EQ"];
  });
  if (index === undefined || !isOfOne) return undefined;
  const tests = alternatives.map(({ conditions, answer }) => ({
    ...testOf(conditions[0] as SeccompCondition, bits),
    answer,
  }));
  const answerOf = (value: bigint) => tests.find(({ holds }) => holds(value))?.answer ?? otherwise;
  const edges = [0n, ...tests.flatMap((test) => test.edges)];
  if (bits === 64 && edges.some((edge) => edge > FIRST_BEYOND)) return undefined;
  const low = new Set(edges.filter((edge) => edge < FIRST_BEYOND).map(Number));
  return {
    index,
    ranges: rangesBetween(low, (value) => always(answerOf(BigInt(value)))),
    beyond: answerOf(FIRST_BEYOND),
  };
}

function testOf({ op, value }: SeccompCondition, bits: ArgumentBits) {
  const { holds, edges } = COMPARISONS[op] as Comparison;
  const bound = BigInt.asUintN(bits, value);
  return {
    holds: (argument: bigint) => holds(argument, bound),
    edges: edges.map((edge) => bound + edge),
  };
}

// SPDX-License-Identifier: Apache-2.0
import type { Label } from "./assembler.ts";
import type { Outcome } from "./rules.ts";

/** What happens to a number: an outcome, or what is decided at a label. */
export type Target = Outcome | Label;

/** What happens from number `first` on, up to the next range. */
export interface Range {
  readonly first: number;
  readonly target: Target;
}

/** Every number from the lowest edge on, in as few ranges as there are changes of what happens. */
export function rangesBetween(edges: Iterable<number>, targetOf: (number: number) => Target): Range[] {
  const ranges: Range[] = [];
  for (const first of [...edges].sort((a, b) => a - b)) {
    const target = targetOf(first);
    const former = ranges.at(-1);
    if (former === undefined || keyOf(former.target) !== keyOf(target)) ranges.push({ first, target });
  }
  return ranges;
}

/** An outcome that no argument changes. */
export function always(answer: number): Outcome {
  return { alternatives: [], otherwise: answer };
}

/** Equal for targets that are the same in effect. */
export function keyOf(target: Target): string {
  if (typeof target === "number") return `at ${target}`;
  const { alternatives, otherwise } = target;
  if (alternatives.length === 0) return String(otherwise);
  const tests = alternatives.map(({ conditions, answer }) => [
    answer,
    ...conditions.map(({ index, op, value, valueTwo }) => `${index} ${op} ${value} ${valueTwo}`),
  ]);
  return JSON.stringify([otherwise, tests]);
}

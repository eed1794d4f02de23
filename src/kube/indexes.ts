// SPDX-License-Identifier: Apache-2.0

/**
 * Numbers of the pods of an Indexed Job, in the notation of batch/v1: numbers and intervals in ascending order,
 * as in `1,3-5,7`. Undefined for what is none.
 */
export function parseIndexes(text: string): Indexes | undefined {
  const intervals: Interval[] = [];
  for (const part of text.split(",")) {
    const [, first, last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) return undefined;
    if (Number(first) <= (intervals.at(-1)?.last ?? -1)) return undefined;
    intervals.push({ first: Number(first), last: Number(last) });
  }
  return {
    count: intervals.reduce((sum, { first, last }) => sum + last - first + 1, 0),
    highest: intervals.at(-1)!.last,
    has: (index) => intervals.some(({ first, last }) => index >= first && index <= last),
  };
}

export interface Indexes {
  readonly count: number;
  readonly highest: number;
  has(index: number): boolean;
}

interface Interval {
  readonly first: number;
  readonly last: number;
}

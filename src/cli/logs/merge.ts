// SPDX-License-Identifier: Apache-2.0
import type { LogLine } from "./log-file.ts";

/** Where lines come from, each of its own in the order in which they were written. */
export interface LineSource {
  /** The next lines; none when there are no more for now. */
  read(): Promise<readonly LogLine[]>;
}

interface Head<S> {
  readonly source: S;
  lines: readonly LogLine[];
  position: number;
  /** The line taken last goes on: its other parts come before anybody else's. */
  isAmid: boolean;
}

/**
 * Takes all that the sources have now, in the order of the times of lines, and of the sources where those are the same.
 * What is taken of a source at once goes to `take` together. Of each source one read is in memory.
 */
export async function mergeByTime<S extends LineSource>(
  sources: readonly S[],
  take: (source: S, lines: readonly LogLine[]) => Promise<void>,
): Promise<void> {
  const unread = sources.map((source): Head<S> => ({ source, lines: [], position: 0, isAmid: false }));
  let heads: Head<S>[] = [];
  const refill = async (head: Head<S>) => {
    head.lines = await head.source.read();
    head.position = 0;
    return head.lines.length > 0;
  };
  for (const head of unread) if (await refill(head)) heads.push(head);
  while (heads.length > 0) {
    const first = heads.find(({ isAmid }) => isAmid) ?? heads.reduce((a, b) => (isLater(a, b) ? b : a));
    const position = heads.indexOf(first);
    const limits = heads.filter((head) => head !== first).map((head) => ({ head, time: timeOf(head) }));
    const begin = first.position;
    const isNext = (time: string) =>
      limits.every(({ head, time: other }) => {
        const order = compareTimes(time, other);
        return order < 0 || (order === 0 && position < heads.indexOf(head));
      });
    do {
      first.isAmid = !first.lines[first.position++]!.isWhole;
    } while (first.position < first.lines.length && (first.isAmid || isNext(timeOf(first))));
    await take(first.source, first.lines.slice(begin, first.position));
    if (first.position === first.lines.length && !(await refill(first))) {
      heads = heads.filter((head) => head !== first);
    }
  }
}

function isLater<S>(a: Head<S>, b: Head<S>): boolean {
  return compareTimes(timeOf(a), timeOf(b)) > 0;
}

function timeOf<S>({ lines, position }: Head<S>): string {
  return lines[position]!.time;
}

/** Below, at or above 0, as the RFC 3339 time `a` is before, at or after `b`. */
export function compareTimes(a: string, b: string): number {
  // podrt's own have nine digits of the second, in UTC: their order is that of their characters.
  if (a.length === b.length && a.endsWith("Z") && b.endsWith("Z")) return a < b ? -1 : a > b ? 1 : 0;
  const [first, second] = [nanosecondsOf(a), nanosecondsOf(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}

function nanosecondsOf(time: string): bigint {
  const match = /^(.*T\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)$/.exec(time);
  const ms = Date.parse(`${match?.[1] ?? ""}${match?.[3] ?? ""}`);
  // What is no time sorts first, and holds up nobody.
  if (Number.isNaN(ms)) return 0n;
  return BigInt(ms) * 1_000_000n + BigInt((match?.[2] ?? "").slice(0, 9).padEnd(9, "0"));
}

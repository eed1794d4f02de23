// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { LogLine } from "./log-file.ts";
import { compareTimes, type LineSource, mergeByTime } from "./merge.ts";

/** Lines at some milliseconds, in reads of some sizes. */
const logs = fc.array(
  fc.record({
    times: fc.array(fc.nat(50), { maxLength: 30 }).map((times) => times.toSorted((a, b) => a - b)),
    parts: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
    reads: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 30, maxLength: 30 }),
  }),
  { minLength: 1, maxLength: 5 },
);

test("nothing is lost, each source keeps its order, whole lines are in the order of times, and none is torn", () =>
  fc.assert(
    fc.asyncProperty(logs, async (made) => {
      const linesOf = made.map(({ times, parts }, source) =>
        times.map((ms, index): LogLine => {
          // The last part of a log always ends its line, so that each line can be followed to its end.
          const isWhole = index === times.length - 1 || parts[index]!;
          const text = new TextEncoder().encode(`${source} ${index}`);
          return { time: new Date(ms).toISOString(), stream: "stdout", isWhole, text };
        }),
      );
      const sources = linesOf.map((lines, index): LineSource & { readonly index: number } => {
        let position = 0;
        let reads = 0;
        return {
          index,
          async read() {
            const begin = position;
            position += made[index]!.reads[reads++ % 30]!;
            return lines.slice(begin, position);
          },
        };
      });
      const taken: { readonly source: number; readonly line: LogLine }[] = [];
      await mergeByTime(sources, async ({ index }, lines) => {
        taken.push(...lines.map((line) => ({ source: index, line })));
      });
      for (const [index, lines] of linesOf.entries()) {
        expect(taken.filter(({ source }) => source === index).map(({ line }) => line)).toEqual(lines);
      }
      let last = "";
      for (const [index, { source, line }] of taken.entries()) {
        const before = taken[index - 1];
        if (before?.line.isWhole === false) expect(source).toBe(before.source);
        else {
          expect(line.time >= last || wasAmid(taken, index, line.time)).toBe(true);
          last = line.time > last ? line.time : last;
        }
      }
    }),
  ));

/** Whether a line with parts stands before `index` that went on after `time`: it could not be torn. */
function wasAmid(taken: readonly { readonly line: LogLine }[], index: number, time: string): boolean {
  return taken
    .slice(0, index)
    .some(({ line }, at) => line.time > time && taken[at - 1]?.line.isWhole === false);
}

test("times of any precision and zone are compared by what they mean", () => {
  const ordered = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.000000001Z",
    "2026-01-01T01:00:00.5+01:00",
    "2026-01-01T00:00:00.500000001Z",
    "2026-01-01T00:00:01Z",
  ];
  for (const [i, a] of ordered.entries()) {
    for (const [j, b] of ordered.entries()) expect(Math.sign(compareTimes(a, b))).toBe(Math.sign(i - j));
  }
});

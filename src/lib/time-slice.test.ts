// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { TimeSlice } from "./time-slice.ts";

function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

async function turnsDuring(slice: TimeSlice): Promise<number> {
  let turns = 0;
  const count = () => {
    turns++;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  for (let part = 0; part < 20; part++) {
    work(1);
    await slice.next();
  }
  clearImmediate(timer);
  return turns;
}

test("others get turns while the work goes on, but only between slices", async () => {
  expect(await turnsDuring(new TimeSlice(2))).toBeGreaterThanOrEqual(5);
  expect(await turnsDuring(new TimeSlice(3_600_000))).toBe(0);
});

test("work that its caller no longer wants ends", async () => {
  const abort = new AbortController();
  const slice = new TimeSlice();
  await slice.next(abort.signal);
  abort.abort(new Error("gone"));
  await expect(slice.next(abort.signal)).rejects.toThrow("gone");
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { TimeSlice } from "./time-slice.ts";

function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test("others get turns while the work goes on, and no more than it is long", async () => {
  const slice = new TimeSlice(2);
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
  expect(turns).toBeGreaterThanOrEqual(5);
  expect(turns).toBeLessThan(20);
});

test("work that its caller no longer wants ends", async () => {
  const abort = new AbortController();
  const slice = new TimeSlice();
  await slice.next(abort.signal);
  abort.abort(new Error("gone"));
  await expect(slice.next(abort.signal)).rejects.toThrow("gone");
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { durationMs, since } from "./since.ts";

test("durations are sums of numbers with units", () => {
  expect(["90s", "1h30m", "2d", "1.5s", "250ms"].map(durationMs)).toEqual([
    90_000, 5_400_000, 172_800_000, 1500, 250,
  ]);
  for (const none of ["", "5", "m", "1h 30m", "-5m", "5w", "1e3s"]) expect(durationMs(none)).toBeUndefined();
});

test("since is a duration ago, or a time", () => {
  const before = Date.now();
  expect(since("1m")).toBeGreaterThanOrEqual(before - 60_000);
  expect(since("1m")).toBeLessThanOrEqual(Date.now() - 60_000);
  expect(since("2026-01-31T12:00:00.5+01:00")).toBe(Date.UTC(2026, 0, 31, 11, 0, 0, 500));
  expect(since("2026-01-31")).toBe(Date.UTC(2026, 0, 31));
  for (const none of ["yesterday", "12:00", "2026-13-01", "999999999999d", "10"]) {
    expect(() => since(none)).toThrow("expected how long ago");
  }
});

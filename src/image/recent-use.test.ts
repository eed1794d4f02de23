// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { newRecentUse } from "./recent-use.ts";

test("an image is as young as it was recorded or asked for, and the wall clock may have been put back since", () => {
  let nowMs = 1000;
  let wallMs = 50_000;
  const recent = newRecentUse(
    () => nowMs,
    () => wallMs,
  );
  const image = { id: "sha256:a", createdAtNs: "20000000000" };
  expect(recent.idleMs(image)).toBe(30_000);
  recent.note("sha256:a");
  nowMs += 700;
  expect(recent.idleMs(image)).toBe(700);
  expect(recent.idleMs({ ...image, id: "sha256:b" })).toBe(30_000);
  wallMs = 0;
  expect(recent.idleMs(image)).toBe(700);
  expect(recent.idleMs({ ...image, id: "sha256:b" })).toBe(Number.POSITIVE_INFINITY);
});

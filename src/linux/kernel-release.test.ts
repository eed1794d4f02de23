// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { isAtLeast } from "./kernel-release.ts";

test.each([
  ["6.18.44-fc", "6.5", true],
  ["6.5.0", "6.5", true],
  ["6.4.16-generic", "6.5", false],
  ["7.0", "6.5", true],
  ["5.15.0", "6.5", false],
  ["6.12-rc3", "6.5", true],
] as const)("%s against %s", (release, wanted, expected) => {
  expect(isAtLeast(release, wanted)).toBe(expected);
});

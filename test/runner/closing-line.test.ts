// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { closingLine, countsOf } from "./closing-line.ts";

test("a closing line is read back, and only from the end of the output", () => {
  const counts = { passed: 12, failed: 3, skipped: 0 };
  expect(countsOf(`something\n${closingLine(counts)}\n`)).toEqual(counts);
  expect(countsOf(`${closingLine(counts)}\nthe machine went on\n`)).toBeUndefined();
  expect(countsOf("")).toBeUndefined();
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ProgramOutput } from "./output.ts";

function output() {
  const lines: string[] = [];
  const clock = { ms: 0 };
  const taken = new ProgramOutput(
    (line) => lines.push(line),
    () => clock.ms,
  );
  return {
    lines,
    clock,
    take: (text: string) => taken.take(Buffer.from(text, "latin1")),
    end: () => taken.end(),
  };
}

test("lines are handed on whole, whatever pieces they come in", () => {
  const { lines, take, end } = output();
  for (const piece of ["fir", "st\nsecond\n\nthi", "rd \xc3", "\xa4\nesc\x1b[2J\nlast"]) take(piece);
  expect(lines).toEqual(["first", "second", "third ä", "esc?[2J"]);
  end();
  expect(lines.at(-1)).toBe("last");
});

test("a line that does not end is cut, and a flood is counted", () => {
  const { lines, clock, take, end } = output();
  for (let turn = 0; turn < 100; turn++) take("x".repeat(100));
  take("\n");
  expect(lines).toEqual([`${"x".repeat(1000)}...`]);
  take("line\n".repeat(500));
  expect(lines).toHaveLength(100);
  clock.ms = 10_000;
  take("later\n");
  expect(lines.slice(100)).toEqual(["and 401 more lines", "later"]);
  take("line\n".repeat(100));
  end();
  expect(lines.slice(-2)).toEqual(["line", "and 1 more lines"]);
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { commandsOf, isAsShown } from "./page-commands.ts";

test("commands are lines of a block, or what stands behind a dollar sign with its output", () => {
  const page = [
    "# A page",
    "",
    "```sh run",
    "# a word",
    "one --with this   # why",
    "two \\",
    "    lines",
    "```",
    "text",
    "```console run eventually",
    "$ three",
    "a  b",
    "…",
    "$ four \\",
    "  more",
    "```",
    "```toml",
    "five = 5",
    "```",
    "```sh",
    "six",
    "```",
    "```",
    "$ seven",
    "```",
    "```",
    "a picture",
    "```",
  ].join("\n");
  expect(commandsOf(page)).toEqual([
    { line: 5, text: "one --with this   # why", output: undefined, isRun: true, isEventual: false },
    { line: 6, text: "two \\\n    lines", output: undefined, isRun: true, isEventual: false },
    { line: 11, text: "three", output: "a  b\n…\n", isRun: true, isEventual: true },
    { line: 14, text: "four \\\n  more", output: "", isRun: true, isEventual: true },
    { line: 21, text: "six", output: undefined, isRun: false, isEventual: false },
    { line: 24, text: "seven", output: "", isRun: false, isEventual: false },
  ]);
});

test("output is as shown but for blanks and what dots stand for", () => {
  expect(isAsShown("a  b\n", "a b\n")).toBeTrue();
  expect(isAsShown("", "\n")).toBeTrue();
  expect(isAsShown("", "x")).toBeFalse();
  expect(isAsShown("id …", "id 12ab\n")).toBeTrue();
  expect(isAsShown("id … up", "id 12ab down\n")).toBeFalse();
  expect(isAsShown("first\n…\nlast", "first\n1\n2\nlast\n")).toBeTrue();
  expect(isAsShown("first\n…\nlast", "first\nlast\n")).toBeTrue();
  expect(isAsShown("first\n…", "second\nfirst\n")).toBeFalse();
  expect(isAsShown("(1+1)", "11")).toBeFalse();
  expect(isAsShown("one", "one\ntwo")).toBeFalse();
  expect(isAsShown("one\ntwo", "one")).toBeFalse();
  expect(isAsShown("…\na\n…\nb", "a\na\nc\nb")).toBeTrue();
  expect(isAsShown("…", "")).toBeTrue();
  const many = "x\n".repeat(2000);
  expect(isAsShown(`${"…\nx\n".repeat(20)}y`, many)).toBeFalse();
});

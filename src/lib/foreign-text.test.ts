// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { oneLine, printable, quoted } from "./foreign-text.ts";

// An escape sequence, a change of direction, and the characters that end lines and paragraphs.
const HOSTILE = "a\u001b[2Jb\u202ec\u2028d\u2029e\u007f";

test("what a terminal would act upon is a question mark", () => {
  expect(printable(HOSTILE, 100)).toBe("a?[2Jb?c?d?e?");
  expect(oneLine(`  first\n\tsecond\r\n${HOSTILE} `, 100)).toBe("first second a?[2Jb?c d e?");
  expect(quoted(HOSTILE, 100)).toBe('"a\\u001b[2Jb?c?d?e?"');
});

test("long texts are cut, also within a character of two units", () => {
  expect(printable("abcdef", 3)).toBe("abc");
  expect(oneLine("abcdef", 3)).toBe("abc...");
  expect(oneLine("ab\u{1f600}c", 3)).toBe("ab?...");
  expect(quoted("abcdef", 3)).toBe('"abc..."');
  expect(quoted("abc", 3)).toBe('"abc"');
});

test("what is printed stays, in any language", () => {
  expect(oneLine('tag "größe" 日本', 100)).toBe('tag "größe" 日本');
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { posix } from "node:path";
import fc from "fast-check";
import { SyscallError } from "../linux/syscall.ts";
import { baseName, cleanPath, entryError, parentPath } from "./apply-place.ts";

test("names are cleaned to what lies below the root", () => {
  const cases: Record<string, string> = {
    "a/b": "a/b",
    "./a/b/": "a/b",
    "/a//b/./c": "a/b/c",
    "a/../b": "b",
    "./": "",
    "/": "",
    ".": "",
    "a/..": "",
    "..a/b..": "..a/b..",
    "...": "...",
    ".hidden/.x": ".hidden/.x",
    "././a": "a",
    "a/.": "a",
    "a//": "a",
  };
  for (const [path, cleaned] of Object.entries(cases))
    expect([path, cleanPath(path)]).toEqual([path, cleaned]);
});

test("names that climb out are refused", () => {
  for (const path of ["..", "../a", "a/../../b", "/..", "./../a", "a/b/../../../c"]) {
    expect(() => cleanPath(path)).toThrow("leaves the layer's root");
  }
});

test("cleaning agrees with the standard library wherever a name stays inside", () => {
  const part = fc.constantFrom("a", "b", "..", ".", "", "..a", "a.", "...");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const path = parts.join("/");
      const expected = posix.normalize(`./${path}`).replace(/\/$/, "");
      if (expected.startsWith("..") && /^\.\.(\/|$)/.test(expected)) expect(() => cleanPath(path)).toThrow();
      else expect(cleanPath(path)).toBe(expected === "." ? "" : expected);
    }),
    { numRuns: 1000 },
  );
});

test("parent and last component take a path apart", () => {
  expect(["a/b/c", "a", ""].map(parentPath)).toEqual(["a/b", "", ""]);
  expect(["a/b/c", "a", ""].map(baseName)).toEqual(["c", "a", ""]);
});

test("a system call's failure is told as the entry's, with what to do about a full disk", () => {
  expect(String(entryError("f", new SyscallError("write", 28)))).toContain(
    'entry "f": write: ENOSPC: no space left; free some or remove images',
  );
  expect(entryError("f", new SyscallError("openat", 36))).toMatchObject({ kind: "InvalidArgument" });
  expect(entryError("f", new SyscallError("fchown", 1))).toMatchObject({ kind: "Internal" });
  const other = new Error("other");
  expect(entryError("f", other)).toBe(other);
});

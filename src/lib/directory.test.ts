// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoriesIn, namesIn } from "./directory.ts";

test("what is in a directory comes sorted; one that is not there has nothing, and what is none is an error", () => {
  const dir = mkdtempSync(join(tmpdir(), "podrt-directory-"));
  try {
    for (const name of ["b", "a"]) mkdirSync(join(dir, name));
    writeFileSync(join(dir, "file"), "");
    symlinkSync("a", join(dir, "link"));
    expect(namesIn(dir)).toEqual(["a", "b", "file", "link"]);
    expect(directoriesIn(dir)).toEqual(["a", "b"]);
    expect([namesIn(join(dir, "none")), directoriesIn(join(dir, "none"))]).toEqual([[], []]);
    expect(() => namesIn(join(dir, "file"))).toThrow("ENOTDIR");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

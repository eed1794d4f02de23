// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spreadTrees } from "./inode-flags.ts";

// EXT4_SUPER_MAGIC, statfs(2).
const EXT4 = 0xef53;

// The attribute is one of ext4, and setting it is for its owner.
test.skipIf(statfsSync(tmpdir()).type !== EXT4 || process.getuid?.() !== 0)(
  "a directory on ext4 gets the attribute T, once",
  () => {
    const directory = mkdtempSync(join(tmpdir(), "podrt-flags-"));
    try {
      expect(spreadTrees(directory)).toBe(true);
      expect(spreadTrees(directory)).toBe(true);
      expect(execFileSync("lsattr", ["-d", directory]).toString().split(" ")[0]).toContain("T");
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);

test("a file system without attributes does as it did", () => {
  expect(spreadTrees("/proc")).toBe(false);
});

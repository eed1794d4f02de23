// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from "./abi/fcntl.ts";
import { Fd, open } from "./fd.ts";
import { syscall } from "./syscall.ts";
import { listDirectory, measureTree, measureTreeWithin, removeTree } from "./tree.ts";

const DEPTH = 3_000;
const LONG_NAME = "d".repeat(200);

let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "podrt-tree-"));
});

afterEach(() => {
  using directory = open(tmpdir(), O_PATH | O_DIRECTORY);
  removeTree(directory.number, base);
});

/** A tree far deeper than any path can name, with a file at each tenth level. */
function makeDeepTree(name: string): void {
  let current = open(base, O_PATH | O_DIRECTORY);
  for (let depth = 0; depth < DEPTH; depth++) {
    using parent = current;
    const child = depth === 0 ? name : LONG_NAME;
    syscall("mkdirat", parent.number, child, 0o755);
    current = new Fd(syscall("openat", parent.number, child, O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (depth % 10 === 0) new Fd(syscall("openat", current.number, "zz", O_CREAT | O_RDONLY, 0o600)).close();
  }
  current.close();
}

test("a walk goes down again and again below directories that it has closed", () => {
  const depth = 80;
  for (let level = 0; level < depth; level++)
    for (const name of ["one", "two"])
      mkdirSync(join(base, ...Array(level).fill("d"), name), { recursive: true });
  using directory = open(base, O_RDONLY | O_DIRECTORY);
  expect(measureTree(directory).inodes).toBe(1 + 3 * depth - 1);
});

test("removeTree deletes trees deeper than the longest path", () => {
  makeDeepTree("deep");
  using directory = open(base, O_PATH | O_DIRECTORY);
  removeTree(directory.number, "deep");
  expect(readdirSync(base)).toEqual([]);
});

test("measureTree counts trees deeper than the longest path", () => {
  makeDeepTree("deep");
  using directory = open(join(base, "deep"), O_PATH | O_DIRECTORY);
  expect(measureTree(directory).inodes).toBe(DEPTH + DEPTH / 10);
});

test("removeTree deletes wide directories and leaves what links point to", () => {
  mkdirSync(join(base, "keep"));
  writeFileSync(join(base, "keep/file"), "kept");
  mkdirSync(join(base, "wide/sub"), { recursive: true });
  for (let i = 0; i < 5_000; i++) writeFileSync(join(base, "wide", `file-${i}`), "");
  symlinkSync(join(base, "keep"), join(base, "wide/sub/link"));
  using directory = open(base, O_PATH | O_DIRECTORY);
  removeTree(directory.number, "wide");
  removeTree(directory.number, "never-there");
  expect(readdirSync(base)).toEqual(["keep"]);
  expect(existsSync(join(base, "keep/file"))).toBe(true);
});

test("removeTree removes a single file or link as well", () => {
  writeFileSync(join(base, "file"), "");
  symlinkSync("/", join(base, "link"));
  using directory = open(base, O_PATH | O_DIRECTORY);
  removeTree(directory.number, "file");
  removeTree(directory.number, "link");
  expect(readdirSync(base)).toEqual([]);
});

test("measureTree agrees with du and counts hard links once", () => {
  mkdirSync(join(base, "a/b"), { recursive: true });
  writeFileSync(join(base, "a/file"), new Uint8Array(100_000));
  linkSync(join(base, "a/file"), join(base, "a/b/again"));
  symlinkSync("file", join(base, "a/link"));
  using directory = open(base, O_PATH | O_DIRECTORY);
  const [bytes, inodes] = [["-B1"], ["--inodes"]].map((flags) =>
    Number(execFileSync("du", ["-s", ...(flags as string[]), base], { encoding: "utf8" }).split("\t")[0]),
  );
  expect(measureTree(directory)).toEqual({ usedBytes: bytes as number, inodes: inodes as number });
});

test("listDirectory gives every name once", () => {
  const expected = Array.from({ length: 2_000 }, (_, i) => `entry-${i}`);
  for (const name of expected) writeFileSync(join(base, name), "");
  using directory = open(base, O_RDONLY | O_DIRECTORY);
  const names = [...listDirectory(directory)].map((name) => Buffer.from(name.subarray(0, -1)).toString());
  expect(names.sort()).toEqual(expected.sort());
});

test("measureTreeWithin gives up on trees larger, and work longer, than its bounds", () => {
  mkdirSync(join(base, "sub"));
  for (let i = 0; i < 20; i++) writeFileSync(join(base, "sub", `file-${i}`), "");
  using directory = open(base, O_PATH | O_DIRECTORY);
  expect(measureTreeWithin(directory, { maxInodes: 21 })).toBeUndefined();
  expect(measureTreeWithin(directory, { maxInodes: 22, timeoutMs: 60_000 })?.inodes).toBe(22);
  expect(measureTreeWithin(directory, { timeoutMs: -1 })).toBeUndefined();
});

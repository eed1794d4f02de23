// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_DIRECTORY, O_RDONLY } from "./abi/fcntl.ts";
import { open } from "./fd.ts";
import { summarizeTree } from "./tree-summary.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "podrt-summary-"));
});
afterEach(() => rmSync(home, { recursive: true }));

/** A tree whose files were made in the given order; its times are always the same. */
function makeTree(name: string, order: readonly string[]): string {
  const top = join(home, name);
  mkdirSync(join(top, "a/b"), { recursive: true });
  mkdirSync(join(top, "c"));
  for (const file of order) writeFileSync(join(top, file), `content of ${file}`);
  symlinkSync("a", join(top, "link"));
  for (const path of [...order, "a/b", "a", "c", "."]) utimesSync(join(top, path), 1000, 1000);
  return top;
}

function summaryOf(path: string): string {
  using directory = open(path, O_RDONLY | O_DIRECTORY);
  return summarizeTree(directory);
}

const files = ["a/1", "a/b/2", "c/3"];

test("equal trees have the same summary, in whatever order they were made", () => {
  // A link's own time cannot be set from here.
  const [one, other] = [makeTree("one", files), makeTree("other", files.toReversed())];
  for (const top of [one, other]) rmSync(join(top, "link"));
  for (const top of [one, other]) utimesSync(top, 1000, 1000);
  expect(summaryOf(one)).toBe(summaryOf(other));
  expect(summaryOf(one)).toStartWith("7 ");
});

test("every change to a name, a type, a mode, a size or a time changes it", () => {
  const changes: readonly ((top: string) => void)[] = [
    (top) => rmSync(join(top, "c/3")),
    (top) => writeFileSync(join(top, "a/b/new"), ""),
    (top) => renameSync(join(top, "a/1"), join(top, "c/1")),
    (top) => renameSync(join(top, "c"), join(top, "d")),
    (top) => truncateSync(join(top, "a/b/2"), 3),
    (top) => chmodSync(join(top, "a/b"), 0o700),
    (top) => utimesSync(join(top, "a/1"), 1000, 2000),
  ];
  for (const [index, change] of changes.entries()) {
    const top = makeTree(String(index), files);
    const before = summaryOf(top);
    expect(summaryOf(top)).toBe(before);
    change(top);
    expect(`${index} ${summaryOf(top)}`).not.toBe(`${index} ${before}`);
  }
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeAtomically } from "./atomic-directory.ts";

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "podrt-atomic-")), "volume");
});
afterEach(() => rmSync(join(dir, ".."), { recursive: true }));

const files = (contents: Record<string, string>, mode = 0o644) =>
  new Map(Object.entries(contents).map(([path, text]) => [path, { bytes: Buffer.from(text), mode }]));
const names = () => readdirSync(dir).filter((name) => !name.startsWith(".."));

test("files are seen through links, with their modes", async () => {
  await writeAtomically(dir, files({ a: "1", "sub/dir/b": "2" }, 0o400), undefined);
  expect(names().sort()).toEqual(["a", "sub"]);
  expect(readlinkSync(join(dir, "a"))).toBe("..data/a");
  expect(readFileSync(join(dir, "sub/dir/b"), "utf8")).toBe("2");
  expect(statSync(join(dir, "a")).mode & 0o7777).toBe(0o400);
});

test("the same again changes nothing; other contents replace all at once, and nothing old stays", async () => {
  await writeAtomically(dir, files({ a: "1", gone: "x" }), undefined);
  const first = readlinkSync(join(dir, "..data"));
  await writeAtomically(dir, files({ a: "1", gone: "x" }), undefined);
  expect(readlinkSync(join(dir, "..data"))).toBe(first);
  await writeAtomically(dir, files({ a: "2", fresh: "y" }), undefined);
  const second = readlinkSync(join(dir, "..data"));
  expect(second).not.toBe(first);
  expect(names().sort()).toEqual(["a", "fresh"]);
  expect(readFileSync(join(dir, "a"), "utf8")).toBe("2");
  expect(existsSync(join(dir, first))).toBe(false);
});

test("what a run that was cut short has left is made good", async () => {
  await writeAtomically(dir, files({ a: "1" }), undefined);
  mkdirSync(join(dir, "..half"));
  symlinkSync("..half", join(dir, "..data.new"));
  rmSync(join(dir, "a"));
  rmSync(join(dir, readlinkSync(join(dir, "..data")), "..podrt"));
  await writeAtomically(dir, files({ a: "1" }), undefined);
  expect(readFileSync(join(dir, "a"), "utf8")).toBe("1");
  expect(readdirSync(dir).filter((name) => name.startsWith(".."))).toHaveLength(2);
});

// Only root gives files to a group that is not its own.
test.skipIf(process.getuid?.() !== 0)("a group may read all of it, whatever the files' modes", async () => {
  await writeAtomically(dir, files({ "sub/a": "1" }, 0o400), 4321);
  for (const path of [dir, join(dir, "sub"), join(dir, "sub/a")]) expect(statSync(path).gid).toBe(4321);
  expect(statSync(join(dir, "sub/a")).mode & 0o7777).toBe(0o440);
  expect(statSync(join(dir, "sub")).mode & 0o2070).toBe(0o2050);
});

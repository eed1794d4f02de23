// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { openQuarantine } from "./quarantine.ts";

let home: string;
let directory: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "podrt-quarantine-"));
  directory = join(home, "quarantine");
});
afterEach(() => rmSync(home, { recursive: true }));

test("what is kept has a name of its own, however often the same is kept and whatever it is called", () => {
  const quarantine = openQuarantine(directory);
  const paths = ["first", "second"].map((text) => quarantine.keep("pods-default/../../x.json", text));
  expect(paths.map((path) => readFileSync(path, "utf8"))).toEqual(["first", "second"]);
  expect(paths.map(dirname)).toEqual([directory, directory]);
});

test("a database moves with its log, under names that belong together", () => {
  const path = join(home, "podrt.db");
  writeFileSync(path, "pages");
  writeFileSync(`${path}-wal`, "log");
  writeFileSync(`${path}-shm`, "index");
  const aside = openQuarantine(directory).keepDatabase(path);
  expect(readFileSync(aside, "utf8")).toBe("pages");
  expect(readFileSync(`${aside}-wal`, "utf8")).toBe("log");
  expect(["", "-wal", "-shm"].filter((suffix) => existsSync(path + suffix))).toEqual([]);
});

test("the oldest go when there are too many, over the lives of several daemons", () => {
  const names: string[] = [];
  for (let round = 0; round < 50; round++)
    names.push(basename(openQuarantine(directory).keep(`row-${round}.json`, "")));
  expect(readdirSync(directory)).toHaveLength(32);
  expect(readdirSync(directory)).toContain(names.at(-1)!);
});

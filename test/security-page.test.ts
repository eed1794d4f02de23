// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const projectDir = resolve(import.meta.dir, "..");
const page = readFileSync(join(projectDir, "docs/security.md"), "utf8");
const promises = page.slice(page.indexOf("## Promises"), page.indexOf("## Limits")).split("\n");
const shownBy = promises
  .filter((line) => line.startsWith("| ") && !line.startsWith("| promise"))
  .map((line) => [...(line.split(" | ").at(-1) ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1]!));

const fileOf = (name: string) =>
  [name, `test/${name}.test.ts`, `test/integration/${name}.test.ts`].find((path) =>
    existsSync(join(projectDir, path)),
  );

test("each promise of the page on security names tests that exist", () => {
  expect(shownBy.length).toBeGreaterThan(10);
  expect(shownBy.filter((names) => names.length === 0)).toEqual([]);
  expect(shownBy.flat().filter((name) => fileOf(name) === undefined)).toEqual([]);
});

test("each test that attacks stands for a promise", () => {
  const attacks = readdirSync(join(projectDir, "test/integration")).flatMap(
    (name) => /^(attack-.*)\.test\.ts$/.exec(name)?.[1] ?? [],
  );
  expect(attacks.filter((name) => !shownBy.flat().includes(name))).toEqual([]);
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pageFile, referencePage } from "../scripts/write-reference-page.ts";
import { TOPICS } from "../src/cli/manual/topics.ts";

test("docs/reference.md is what the commands' tree gives", () => {
  expect(readFileSync(pageFile, "utf8")).toBe(referencePage());
});

test("it tells of each variable of the environment that the program reads", () => {
  const source = join(import.meta.dir, "..", "src");
  const read = [...new Bun.Glob("**/*.ts").scanSync(source)]
    .filter((file) => !file.endsWith(".test.ts"))
    .flatMap((file) => [...readFileSync(join(source, file), "utf8").matchAll(/\benv\["([A-Z][A-Z_]+)"\]/g)])
    .map(([, name]) => name!);
  expect(read).toContain("PODRT_SOCKET");
  const told = TOPICS.find(({ title }) => title === "Environment")!.items!.flatMap(([names]) =>
    names.split(", "),
  );
  expect([...new Set(read)].filter((name) => !told.includes(name))).toEqual([]);
});

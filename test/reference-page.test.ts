// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { pageFile, referencePage } from "../scripts/write-reference-page.ts";

test("docs/reference.md is what the commands' tree gives", () => {
  expect(readFileSync(pageFile, "utf8")).toBe(referencePage());
});

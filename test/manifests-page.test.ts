// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { manifestsPage, pageFile } from "../scripts/write-manifests-page.ts";

test("docs/manifests.md is what src/kube/manifest/fields.ts gives", () => {
  expect(readFileSync(pageFile, "utf8")).toBe(manifestsPage());
});

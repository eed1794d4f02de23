// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const projectDir = resolve(import.meta.dir, "../..");

/** Every test file of the project, as a path from its top. */
export function testFiles(): string[] {
  return ["src", "test"].flatMap((dir) =>
    readdirSync(join(projectDir, dir), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => `${dir}/${name}`)
      .sort(),
  );
}

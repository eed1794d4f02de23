// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NetworkConf } from "./conf.ts";
import { newHealth } from "./health.ts";

let directory: string;
const conf: NetworkConf = {
  name: "net",
  cniVersion: "1.1.0",
  disableCheck: false,
  disableGC: false,
  plugins: [{ type: "plugin" }],
};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-health-"));
  const program = join(directory, "plugin");
  const answer = `echo '{"supportedVersions":["1.1.0"]}'`;
  writeFileSync(program, `#!/bin/sh\nwhile [ -e ${directory}/hold ]; do sleep 0.05; done\n${answer}\n`);
  chmodSync(program, 0o755);
});

afterAll(() => rmSync(directory, { recursive: true }));

test("a file that is written anew does not make a network unready while its plugins are asked again", async () => {
  const health = newHealth({ directories: [directory], timeoutMs: 30_000 });
  writeFileSync(join(directory, "hold"), "");
  expect(await health.problemOf(conf)).toBe(
    "network net: its plugins have not said yet whether they are ready",
  );
  rmSync(join(directory, "hold"));
  while ((await health.problemOf(conf)) !== undefined) await Bun.sleep(20);
  writeFileSync(join(directory, "hold"), "");
  expect(await health.problemOf({ ...conf })).toBeUndefined();
  rmSync(join(directory, "hold"));
});

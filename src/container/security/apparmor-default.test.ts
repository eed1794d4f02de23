// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeEach, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "../../lib/logger.ts";
import { openAppArmor } from "../../linux/apparmor.ts";
import { loadDefaultProfile } from "./apparmor-default.ts";

const dir = mkdtempSync(join(tmpdir(), "podrt-apparmor-"));
afterAll(() => rmSync(dir, { recursive: true }));
const files = { enabled: join(dir, "enabled"), profiles: join(dir, "profiles"), ownAttribute: "" };
let warnings: string[] = [];
let scripts = 0;
const log = { warn: (text: string) => void warnings.push(text) } as unknown as Logger;

beforeEach(() => {
  warnings = [];
  writeFileSync(files.enabled, "Y\n");
  writeFileSync(files.profiles, "");
});

/** A stand-in for apparmor_parser: a script. */
function parser(script: string): string {
  const path = join(dir, `parser-${scripts++}`);
  writeFileSync(path, `#!/bin/sh\ncd ${dir}\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const load = (path?: string) => loadDefaultProfile(openAppArmor(files), log, path);

test("the default profile is given to the parser, and used once the kernel lists it", async () => {
  const path = parser('echo "$@" >arguments; cat >text; echo "podrt-default (enforce)" >>profiles');
  expect(await load(path)).toBe("podrt-default");
  expect(readFileSync(join(dir, "arguments"), "utf8")).toBe("--replace --skip-cache\n");
  const text = readFileSync(join(dir, "text"), "utf8");
  expect(text).toContain("profile podrt-default flags=(attach_disconnected,mediate_deleted) {");
  expect(text).toContain("deny /proc/sysrq-trigger rwklx,");
  expect(warnings).toEqual([]);
});

test("a profile of that name that is loaded is left alone", async () => {
  writeFileSync(files.profiles, "podrt-default (complain)\n");
  rmSync(join(dir, "text"), { force: true });
  expect(await load(parser("cat >text"))).toBe("podrt-default");
  expect(existsSync(join(dir, "text"))).toBe(false);
});

test("where AppArmor is off nothing is loaded and nothing is said", async () => {
  writeFileSync(files.enabled, "N\n");
  expect(await load(parser("exit 1"))).toBeUndefined();
  expect(warnings).toEqual([]);
});

test("a parser that is missing, fails, or loads nothing is warned of once, with what that means", async () => {
  const failures = [
    [join(dir, "nowhere"), /cannot load the AppArmor profile podrt-default: .*ENOENT/],
    [parser("echo 'no such rule' >&2; exit 3"), /exited with 3: no such rule: containers/],
    [parser("kill -9 $$"), /was ended by SIGKILL: it said nothing/],
    [parser("cat >text"), /did not load podrt-default/],
  ] as const;
  for (const [path, warning] of failures) {
    warnings = [];
    expect(await load(path)).toBeUndefined();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(warning);
    expect(warnings[0]).toEndWith(
      "containers that ask for no profile of their own run unconfined by AppArmor",
    );
  }
});

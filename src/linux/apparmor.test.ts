// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAppArmor } from "./apparmor.ts";

const dir = mkdtempSync(join(tmpdir(), "podrt-apparmor-"));
const files = {
  enabled: join(dir, "enabled"),
  profiles: join(dir, "profiles"),
  ownAttribute: join(dir, "exec"),
};
afterAll(() => rmSync(dir, { recursive: true }));

test("AppArmor is off where the kernel does not say Y, or does not tell its profiles", () => {
  expect(openAppArmor(files).isEnabled).toBe(false);
  writeFileSync(files.enabled, "Y\n");
  expect(openAppArmor(files).isEnabled).toBe(false);
  writeFileSync(files.profiles, "a (enforce)\n");
  expect(openAppArmor(files).isEnabled).toBe(true);
  writeFileSync(files.enabled, "N\n");
  expect(openAppArmor(files).isEnabled).toBe(false);
  expect(openAppArmor(files).isLoaded("a")).toBe(false);
});

test("a profile is loaded when the kernel lists it by its whole name, in whatever mode, from then on", () => {
  writeFileSync(files.enabled, "Y\n");
  writeFileSync(files.profiles, "a (enforce)\nwith space (x) (complain)\n/usr/bin/man//filter (enforce)\n");
  const apparmor = openAppArmor(files);
  for (const name of ["a", "with space (x)", "/usr/bin/man//filter"])
    expect(apparmor.isLoaded(name)).toBe(true);
  for (const name of ["", "b", "with space", "a (enforce)", "/usr/bin/man"])
    expect(apparmor.isLoaded(name)).toBe(false);
  writeFileSync(files.profiles, "b (enforce)\n");
  expect(apparmor.isLoaded("b")).toBe(true);
  expect(apparmor.isLoaded("a")).toBe(false);
});

test("the label goes to AppArmor's own attribute where the kernel has one", () => {
  expect(openAppArmor(files).execAttribute).toBe("exec");
  writeFileSync(files.ownAttribute, "");
  expect(openAppArmor(files).execAttribute).toBe("apparmor/exec");
});

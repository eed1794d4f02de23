// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  LinuxContainerSecurityContextSchema,
  SecurityProfile_ProfileType as ProfileType,
} from "../../gen/runtime/v1/api_pb.ts";
import { openSelinux } from "../../linux/selinux.ts";
import { apparmorLabels, apparmorProfile } from "./apparmor.ts";
import type { SecurityModules } from "./security-modules.ts";

const { RuntimeDefault, Unconfined, Localhost } = ProfileType;

function machine(isEnabled: boolean, defaultAppArmorProfile?: string): SecurityModules {
  const isLoaded = (name: string) => isEnabled && ["podrt-default", "mine"].includes(name);
  const apparmor = { isEnabled, isLoaded, execAttribute: "apparmor/exec" };
  return { apparmor, defaultAppArmorProfile, selinux: openSelinux() };
}
const off = machine(false);
const on = machine(true, "podrt-default");
const withoutDefault = machine(true);

function choose(
  security: MessageInitShape<typeof LinuxContainerSecurityContextSchema> | undefined,
  modules: SecurityModules,
) {
  const context = security && create(LinuxContainerSecurityContextSchema, security);
  return apparmorProfile("at", context, modules);
}

test("who asks for nothing gets the default profile where there is one", () => {
  for (const security of [undefined, {}]) {
    expect(choose(security, on)).toBe("podrt-default");
    expect(choose(security, withoutDefault)).toBeUndefined();
    expect(choose(security, off)).toBeUndefined();
  }
});

test("unconfined is unconfined everywhere, by either field, and so is privileged", () => {
  for (const modules of [on, off, withoutDefault]) {
    expect(choose({ apparmor: { profileType: Unconfined } }, modules)).toBeUndefined();
    expect(choose({ apparmorProfile: "unconfined" }, modules)).toBeUndefined();
    expect(choose({ privileged: true, apparmorProfile: "localhost/none" }, modules)).toBeUndefined();
  }
});

test("a profile of the machine's is found by name, with or without its prefix, by either field", () => {
  for (const localhostRef of ["mine", "localhost/mine"]) {
    expect(choose({ apparmor: { profileType: Localhost, localhostRef } }, on)).toBe("mine");
  }
  expect(choose({ apparmorProfile: "localhost/mine" }, on)).toBe("mine");
  expect(choose({ apparmorProfile: "runtime/default" }, on)).toBe("podrt-default");
});

test("the newer field wins", () => {
  const both = { apparmorProfile: "localhost/none" };
  expect(choose({ ...both, apparmor: { profileType: Localhost, localhostRef: "mine" } }, on)).toBe("mine");
  expect(choose({ ...both, apparmor: { profileType: Unconfined } }, on)).toBeUndefined();
});

test("what the machine cannot do is refused by the field's name", () => {
  expect(() => choose({ apparmor: { profileType: Localhost, localhostRef: "none" } }, on)).toThrow(
    'at.apparmor: the AppArmor profile "none" is not loaded',
  );
  expect(() => choose({ apparmorProfile: "localhost/none" }, on)).toThrow(
    'at.apparmor_profile: the AppArmor profile "none"',
  );
  for (const security of [
    { apparmor: { profileType: RuntimeDefault } },
    { apparmor: { profileType: Localhost, localhostRef: "mine" } },
  ]) {
    expect(() => choose(security, off)).toThrow("at.apparmor: AppArmor is not enabled on this machine");
  }
  expect(() => choose({ apparmorProfile: "runtime/default" }, off)).toThrow(
    "at.apparmor_profile: AppArmor is not",
  );
  expect(() => choose({ apparmor: { profileType: RuntimeDefault } }, withoutDefault)).toThrow(
    "at.apparmor: the default AppArmor profile podrt-default is not loaded",
  );
});

test("a launch asks for the profile in the kernel's words", () => {
  expect(apparmorLabels(undefined, on.apparmor)).toEqual([]);
  expect(apparmorLabels("mine", on.apparmor)).toMatchObject([
    { attribute: "apparmor/exec", text: "exec mine" },
  ]);
});

// SPDX-License-Identifier: Apache-2.0
import {
  type LinuxContainerSecurityContext,
  type LinuxSandboxSecurityContext,
  NamespaceMode,
  type NamespaceOption,
  SecurityProfile_ProfileType as ProfileType,
  type SELinuxOption,
  type SecurityProfile,
} from "../gen/runtime/v1/api_pb.ts";
import { parseCapability } from "../linux/capability.ts";
import {
  checkAbsolutePath,
  checkNotEmpty,
  checkPrintable,
  checkUserId,
  invalid,
  shown,
} from "./validate-fields.ts";
import { checkUserNamespace, checkWithinUserNamespace } from "./validate-user-namespace.ts";

/** NGROUPS_MAX (linux/limits.h). */
const MAX_GROUPS = 65_536;
const MAX_USER_NAME_BYTES = 256;
/** Each path takes some thirty system calls of a launch, which has room for 60,000. */
const MAX_PATHS = 1024;
/** AppArmor's own bound is what one write to procfs may have, a page. */
const MAX_PROFILE_NAME_BYTES = 4000;
/** One level or a range of two: sensitivity, then categories, single or from one to another (selinux(8), mcs(8)). */
const LEVEL =
  /^(?!.{256})s\d{1,2}(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?(-s\d{1,2}(:c\d{1,4}(\.c\d{1,4})?(,c\d{1,4}(\.c\d{1,4})?)*)?)?$/;
const LEGACY_DEFAULT_PROFILES: readonly string[] = ["", "runtime/default", "docker/default", "unconfined"];

export function checkSandboxSecurity(path: string, context: LinuxSandboxSecurityContext): void {
  const namespaces = context.namespaceOptions;
  if (namespaces?.pid === NamespaceMode.TARGET) {
    invalid(`${path}.namespace_options.pid`, "TARGET is for containers only");
  }
  if (namespaces !== undefined) checkNamespaces(`${path}.namespace_options`, namespaces);
  if (context.runAsGroup !== undefined && context.runAsUser === undefined) {
    invalid(`${path}.run_as_group`, "must not be set without run_as_user");
  }
  checkCommonSecurity(path, context);
}

export function checkContainerSecurity(path: string, context: LinuxContainerSecurityContext): void {
  if (context.namespaceOptions !== undefined) {
    checkNamespaces(`${path}.namespace_options`, context.namespaceOptions);
  }
  checkUserName(path, context);
  const {
    addCapabilities = [],
    dropCapabilities = [],
    addAmbientCapabilities = [],
  } = context.capabilities ?? {};
  checkCapabilities(`${path}.capabilities.add_capabilities`, addCapabilities, ["ALL", "CAP_ALL"]);
  checkCapabilities(`${path}.capabilities.drop_capabilities`, dropCapabilities, ["ALL", "CAP_ALL"]);
  checkCapabilities(`${path}.capabilities.add_ambient_capabilities`, addAmbientCapabilities, []);
  checkPaths(`${path}.masked_paths`, context.maskedPaths);
  checkPaths(`${path}.readonly_paths`, context.readonlyPaths);
  checkLegacyAppArmor(`${path}.apparmor_profile`, context.apparmorProfile);
  checkCommonSecurity(path, context);
}

function checkCommonSecurity(
  path: string,
  context: LinuxSandboxSecurityContext | LinuxContainerSecurityContext,
): void {
  if (context.runAsUser !== undefined) checkUserId(`${path}.run_as_user`, context.runAsUser.value);
  if (context.runAsGroup !== undefined) checkUserId(`${path}.run_as_group`, context.runAsGroup.value);
  if (context.supplementalGroups.length > MAX_GROUPS) {
    invalid(`${path}.supplemental_groups`, `must not have more than ${MAX_GROUPS} entries`);
  }
  for (const [index, group] of context.supplementalGroups.entries()) {
    checkUserId(`${path}.supplemental_groups[${index}]`, group);
  }
  if (context.seccomp !== undefined) checkSeccomp(`${path}.seccomp`, context.seccomp);
  checkLegacySeccomp(`${path}.seccomp_profile_path`, context.seccompProfilePath);
  if (context.apparmor !== undefined) checkAppArmor(`${path}.apparmor`, context.apparmor);
  if (context.selinuxOptions !== undefined) checkSelinux(`${path}.selinux_options`, context.selinuxOptions);
  checkWithinUserNamespace(path, context);
}

function checkNamespaces(path: string, options: NamespaceOption): void {
  for (const field of ["network", "ipc"] as const) {
    if (options[field] !== NamespaceMode.POD && options[field] !== NamespaceMode.NODE) {
      invalid(`${path}.${field}`, "must be POD or NODE");
    }
  }
  if (options.pid === NamespaceMode.TARGET) checkNotEmpty(`${path}.target_id`, options.targetId);
  else if (options.targetId !== "") invalid(`${path}.target_id`, "is for pid TARGET only");
  if (options.usernsOptions !== undefined) {
    checkUserNamespace(`${path}.userns_options`, options.usernsOptions);
  }
}

function checkUserName(path: string, context: LinuxContainerSecurityContext): void {
  const { runAsUser, runAsUsername, runAsGroup } = context;
  if (runAsUser !== undefined && runAsUsername !== "") {
    invalid(`${path}.run_as_username`, "must not be set together with run_as_user");
  }
  if (runAsGroup !== undefined && runAsUser === undefined && runAsUsername === "") {
    invalid(`${path}.run_as_group`, "must not be set without run_as_user or run_as_username");
  }
  checkPrintable(`${path}.run_as_username`, runAsUsername);
  if (runAsUsername.includes(":")) invalid(`${path}.run_as_username`, "must not contain a colon");
  if (Buffer.byteLength(runAsUsername) > MAX_USER_NAME_BYTES) {
    invalid(`${path}.run_as_username`, `must not exceed ${MAX_USER_NAME_BYTES} bytes`);
  }
}

/** `wildcards` are the names of all capabilities together, where the field may have one. */
function checkCapabilities(path: string, names: readonly string[], wildcards: readonly string[]): void {
  for (const [index, name] of names.entries()) {
    if (wildcards.includes(name.toUpperCase()) || parseCapability(name) !== undefined) continue;
    invalid(`${path}[${index}]`, `${shown(name)} is no capability`);
  }
}

function checkPaths(path: string, values: readonly string[]): void {
  if (values.length > MAX_PATHS) invalid(path, `must not have more than ${MAX_PATHS} entries`);
  for (const [index, value] of values.entries()) {
    checkAbsolutePath(`${path}[${index}]`, value);
    if (/^\/[/.]*$/.test(value)) invalid(`${path}[${index}]`, `must not be the root, but is ${shown(value)}`);
  }
}

function checkSeccomp(path: string, profile: SecurityProfile): void {
  if (profile.profileType === ProfileType.Localhost) {
    checkAbsolutePath(`${path}.localhost_ref`, profile.localhostRef);
  } else if (profile.localhostRef !== "") {
    invalid(`${path}.localhost_ref`, "is for profile_type Localhost only");
  }
}

function checkLegacySeccomp(path: string, value: string): void {
  if (LEGACY_DEFAULT_PROFILES.includes(value)) return;
  if (!value.startsWith("localhost/")) {
    invalid(path, `must be runtime/default, unconfined or localhost/PATH, but is ${shown(value)}`);
  }
  checkAbsolutePath(path, value.slice("localhost/".length));
}

function checkAppArmor(path: string, profile: SecurityProfile): void {
  if (profile.profileType === ProfileType.Localhost) {
    checkProfileName(`${path}.localhost_ref`, profile.localhostRef.replace(/^localhost\//, ""));
  } else if (profile.localhostRef !== "") {
    invalid(`${path}.localhost_ref`, "is for profile_type Localhost only");
  }
}

function checkLegacyAppArmor(path: string, value: string): void {
  if (LEGACY_DEFAULT_PROFILES.includes(value)) return;
  if (!value.startsWith("localhost/")) {
    invalid(path, `must be runtime/default, unconfined or localhost/NAME, but is ${shown(value)}`);
  }
  checkProfileName(path, value.slice("localhost/".length));
}

/** The name of a profile of AppArmor's; whether it is loaded is for the machine to say. */
function checkProfileName(path: string, name: string): void {
  checkNotEmpty(path, name);
  checkPrintable(path, name);
  if (Buffer.byteLength(name) > MAX_PROFILE_NAME_BYTES) {
    invalid(path, `must not exceed ${MAX_PROFILE_NAME_BYTES} bytes`);
  }
}

/** The parts of a context that the machine's policy may know; whether it does is for the machine to say. */
function checkSelinux(path: string, options: SELinuxOption): void {
  for (const field of ["user", "role", "type"] as const) {
    const value = options[field];
    if (value === "" || /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/.test(value)) continue;
    invalid(`${path}.${field}`, `must be a name of the policy's, but is ${shown(value)}`);
  }
  if (options.level !== "" && !LEVEL.test(options.level)) {
    invalid(`${path}.level`, `must be a level as in s0:c1,c2, but is ${shown(options.level)}`);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";

/** Where the kernel tells of AppArmor; another folder in tests. */
export interface AppArmorFiles {
  /** `Y` where AppArmor is on. */
  readonly enabled: string;
  /** The loaded profiles, one a line, as in `podrt-default (enforce)`. */
  readonly profiles: string;
  /** The file of AppArmor's own for the label at execve, which older kernels do not have. */
  readonly ownAttribute: string;
}

const KERNEL_FILES: AppArmorFiles = {
  enabled: "/sys/module/apparmor/parameters/enabled",
  profiles: "/sys/kernel/security/apparmor/profiles",
  ownAttribute: "/proc/self/attr/apparmor/exec",
};

/** AppArmor as this machine has it (apparmor(7)). */
export interface AppArmor {
  /** True where the kernel enforces profiles and tells which are loaded. */
  readonly isEnabled: boolean;
  isLoaded(profile: string): boolean;
  /** The file below /proc/self/attr that takes `exec PROFILE`. */
  readonly execAttribute: string;
}

export function openAppArmor(files: AppArmorFiles = KERNEL_FILES): AppArmor {
  const isEnabled = readText(files.enabled).startsWith("Y") && existsSync(files.profiles);
  return {
    isEnabled,
    isLoaded: (profile) => isEnabled && loadedProfiles(readText(files.profiles)).has(profile),
    execAttribute: existsSync(files.ownAttribute) ? "apparmor/exec" : "exec",
  };
}

/** The names in the kernel's list; each line ends with the profile's mode in parentheses. */
function loadedProfiles(list: string): Set<string> {
  return new Set([...list.matchAll(/^(.+) \([a-z]+\)$/gm)].map((line) => line[1]!));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

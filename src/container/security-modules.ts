// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../lib/logger.ts";
import { type AppArmor, openAppArmor } from "../linux/apparmor.ts";
import { loadDefaultProfile } from "./apparmor-default.ts";

/** The Linux security modules that podrt can have confine a process. */
export interface SecurityModules {
  readonly apparmor: AppArmor;
  /** The profile of processes that ask for none; undefined where there is none to be had. */
  readonly defaultAppArmorProfile: string | undefined;
}

/** Looks at what the machine enforces, and sees that AppArmor has the default profile. */
export async function openSecurityModules(log: Logger): Promise<SecurityModules> {
  const apparmor = openAppArmor();
  return { apparmor, defaultAppArmorProfile: await loadDefaultProfile(apparmor, log) };
}

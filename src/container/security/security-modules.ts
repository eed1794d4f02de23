// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../../lib/logger.ts";
import { type AppArmor, openAppArmor } from "../../linux/apparmor.ts";
import { formatContext, openSelinux, type Selinux } from "../../linux/selinux.ts";
import { loadDefaultProfile } from "./apparmor-default.ts";

/** The Linux security modules that podrt can have confine a process. */
export interface SecurityModules {
  readonly apparmor: AppArmor;
  /** The profile of processes that ask for none; undefined where there is none to be had. */
  readonly defaultAppArmorProfile: string | undefined;
  readonly selinux: Selinux;
}

/** Looks at what the machine enforces, and sees that AppArmor has the default profile and SELinux a policy. */
export async function openSecurityModules(log: Logger): Promise<SecurityModules> {
  const apparmor = openAppArmor();
  const selinux = openSelinux();
  const label = formatContext(selinux.process);
  if (selinux.isEnabled && !selinux.accepts(label)) {
    log.warn(
      `SELinux's policy does not know ${label}: containers that ask for no label get none; install a policy for containers`,
    );
  }
  return { apparmor, defaultAppArmorProfile: await loadDefaultProfile(apparmor, log), selinux };
}

// SPDX-License-Identifier: Apache-2.0
import type { LinuxContainerSecurityContext } from "../../gen/runtime/v1/api_pb.ts";
import type { Identity } from "../../launch/identity.ts";
import type { RuntimeSpec } from "../../oci/runtime-spec.ts";
import { capabilitySet } from "../process-spec.ts";
import { apparmorLabels } from "./apparmor.ts";
import { seccompChoice, seccompFilter } from "./seccomp.ts";
import type { SecurityModules } from "./security-modules.ts";
import { selinuxExecLabels } from "./selinux.ts";

/** Whom a container's processes are, for its launch and for every exec in it. */
export function identityOf(
  spec: RuntimeSpec,
  security: LinuxContainerSecurityContext | undefined,
  { apparmor }: SecurityModules,
): Identity {
  const { user, capabilities, noNewPrivileges } = spec.process;
  const bounding = capabilitySet(capabilities.bounding);
  const choice = seccompChoice(security);
  return {
    uid: user.uid,
    gid: user.gid,
    groups: user.additionalGids,
    bounding,
    effective: capabilitySet(capabilities.effective),
    permitted: capabilitySet(capabilities.permitted),
    inheritable: capabilitySet(capabilities.inheritable),
    ambient: capabilitySet(capabilities.ambient),
    noNewPrivileges,
    rlimits: spec.process.rlimits,
    ioPriority: spec.process.ioPriority,
    seccompFilter: seccompFilter(choice, spec.linux.seccomp, bounding),
    execLabels: [
      ...apparmorLabels(spec.process.apparmorProfile, apparmor),
      ...selinuxExecLabels(spec.process.selinuxLabel),
    ],
  };
}

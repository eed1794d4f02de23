// SPDX-License-Identifier: Apache-2.0
import { apparmorLabels, apparmorProfile } from "../container/security/apparmor.ts";
import { readSeccompProfile, seccompChoice, seccompFilter } from "../container/security/seccomp.ts";
import type { SecurityModules } from "../container/security/security-modules.ts";
import { selinuxExecLabels } from "../container/security/selinux.ts";
import { podIdMappings } from "../container/user-namespace.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { Identity } from "../launch/identity.ts";
import type { IdMapping } from "../oci/runtime-spec.ts";
import type { PodLabels } from "../state/sandboxes.ts";

// Nobody's id: containers of a pod with a shared pid namespace see the pause and must not own it.
const PAUSE_ID = 65_535;

/** The pause has no capability and can gain none; user and groups are the pod's where it names them. */
export function identityForPause(
  config: PodSandboxConfig,
  modules: SecurityModules,
  labels: PodLabels | undefined,
): Identity {
  const context = config.linux?.securityContext;
  // A privileged pod is one whose containers may be: its pause needs nothing for that.
  const security = context && { ...context, privileged: false };
  if (security?.runAsGroup !== undefined && security.runAsUser === undefined) {
    throw new InvalidArgumentError(
      "config.linux.security_context.run_as_group",
      "needs run_as_user beside it",
    );
  }
  const none = new Set<never>();
  const choice = seccompChoice(security);
  const apparmor = apparmorProfile("config.linux.security_context", security, modules);
  const mappings = podIdMappings(config);
  return {
    uid: security?.runAsUser === undefined ? mapped(mappings?.uids) : Number(security.runAsUser.value),
    gid: security?.runAsGroup === undefined ? mapped(mappings?.gids) : Number(security.runAsGroup.value),
    groups: (security?.supplementalGroups ?? []).map(Number),
    bounding: none,
    effective: none,
    permitted: none,
    inheritable: none,
    ambient: none,
    noNewPrivileges: true,
    seccompFilter: seccompFilter(choice, readSeccompProfile(choice), none),
    execLabels: [...apparmorLabels(apparmor, modules.apparmor), ...selinuxExecLabels(labels?.process)],
  };
}

/** A short mapping has no such number: its last one is then as good as nobody's. */
function mapped(mappings: readonly IdMapping[] | undefined): number {
  return Math.min(PAUSE_ID, ...(mappings ?? []).map(({ size }) => size - 1));
}

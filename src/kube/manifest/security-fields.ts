// SPDX-License-Identifier: Apache-2.0
import * as names from "./names.ts";
import { boolean, integer, oneOf, string } from "./scalars.ts";
import { list, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";

/** The highest user or group id that Kubernetes takes. */
export const ID_MAX = 2_147_483_647;

const label = string(names.selinuxPart);

const SeccompProfile = record({
  type: required(oneOf("RuntimeDefault", "Unconfined", "Localhost")),
  localhostProfile: string(names.relativePath),
});

const AppArmorProfile = record({
  type: required(oneOf("RuntimeDefault", "Unconfined", "Localhost")),
  localhostProfile: string(names.profileName),
});

const SELinuxOptions = record({ user: label, role: label, type: label, level: label });

const Capabilities = record({
  add: list(string(names.capability), 64),
  drop: list(string(names.capability), 64),
});

export const SecurityContext = record({
  allowPrivilegeEscalation: boolean(),
  appArmorProfile: AppArmorProfile,
  capabilities: Capabilities,
  privileged: boolean(),
  procMount: oneOf("Default", "Unmasked"),
  readOnlyRootFilesystem: boolean(),
  runAsGroup: integer(0, ID_MAX),
  runAsNonRoot: boolean(),
  runAsUser: integer(0, ID_MAX),
  seLinuxOptions: SELinuxOptions,
  seccompProfile: SeccompProfile,
  windowsOptions: unsupported("is for Windows"),
});

export const PodSecurityContext = record({
  appArmorProfile: AppArmorProfile,
  fsGroup: integer(0, ID_MAX),
  fsGroupChangePolicy: meaningless("has no effect: what is in a volume keeps its owners"),
  runAsGroup: integer(0, ID_MAX),
  runAsNonRoot: boolean(),
  runAsUser: integer(0, ID_MAX),
  seLinuxChangePolicy: oneOf("Recursive"),
  seLinuxOptions: SELinuxOptions,
  seccompProfile: SeccompProfile,
  supplementalGroups: list(integer(0, ID_MAX), 1024),
  supplementalGroupsPolicy: oneOf("Merge", "Strict"),
  sysctls: list(record({ name: required(string(names.sysctlName)), value: required(string()) }), 256),
  windowsOptions: unsupported("is for Windows"),
});

export const SECURITY_FIELDS = {
  SecurityContext,
  PodSecurityContext,
  Capabilities,
  SeccompProfile,
  AppArmorProfile,
  SELinuxOptions,
} as const;

export type SecurityContextSpec = TypeOf<typeof SecurityContext>;

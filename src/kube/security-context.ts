// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type LinuxContainerSecurityContextSchema,
  type LinuxSandboxSecurityContextSchema,
  NamespaceMode,
  SecurityProfile_ProfileType,
  type SecurityProfileSchema,
  SupplementalGroupsPolicy,
} from "../gen/runtime/v1/api_pb.ts";
import { allContainers } from "./container-order.ts";
import { podMapping } from "./host-ids.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { SecurityContextSpec } from "./manifest/security-fields.ts";
import type { Pod, PodHome } from "./pod.ts";

/** The security context of a pod's sandbox. */
export function sandboxSecurityContext(pod: Pod): MessageInitShape<typeof LinuxSandboxSecurityContextSchema> {
  const { spec } = pod;
  return {
    namespaceOptions: namespaceOptions(pod),
    ...userFields(spec.securityContext),
    ...groupFields(spec),
    ...selinuxFields(spec.securityContext),
    privileged: allContainers(spec).some(({ securityContext: own }) => own?.privileged),
    seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
  };
}

/** The security context of a container; its pod's counts for what it does not say itself. */
export function securityContext(
  pod: Pod,
  container: ContainerSpec,
  home: PodHome,
): MessageInitShape<typeof LinuxContainerSecurityContextSchema> {
  const podContext = pod.spec.securityContext;
  const context = container.securityContext ?? {};
  const privileged = context.privileged ?? false;
  const isMasked = !privileged && context.procMount !== "Unmasked";
  return {
    capabilities: {
      addCapabilities: [...(context.capabilities?.add ?? [])],
      dropCapabilities: [...(context.capabilities?.drop ?? [])],
    },
    privileged,
    namespaceOptions: namespaceOptions(pod),
    ...userFields({ ...podContext, ...context }),
    ...groupFields(pod.spec),
    readonlyRootfs: context.readOnlyRootFilesystem ?? false,
    noNewPrivs: context.allowPrivilegeEscalation === false,
    maskedPaths: isMasked ? [...MASKED_PATHS, ...thermalPaths(home.cpuCount)] : [],
    readonlyPaths: isMasked ? [...READONLY_PATHS] : [],
    seccomp: seccomp(context.seccompProfile ?? podContext?.seccompProfile, home),
    ...apparmor(context.appArmorProfile ?? podContext?.appArmorProfile),
    ...selinuxFields({ ...podContext, ...context }),
  };
}

function namespaceOptions(pod: Pod) {
  const { spec } = pod;
  const ids = podMapping(pod);
  const pid = spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER;
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : pid,
    ...(ids.length === 0 ? {} : { usernsOptions: { mode: NamespaceMode.POD, uids: ids, gids: ids } }),
  };
}

function userFields(context: Pick<SecurityContextSpec, "runAsUser" | "runAsGroup"> | undefined) {
  const { runAsUser, runAsGroup } = context ?? {};
  return {
    ...(runAsUser === undefined ? {} : { runAsUser: { value: BigInt(runAsUser) } }),
    ...(runAsGroup === undefined ? {} : { runAsGroup: { value: BigInt(runAsGroup) } }),
  };
}

function groupFields(spec: PodSpec) {
  const { supplementalGroups, supplementalGroupsPolicy, fsGroup } = spec.securityContext ?? {};
  const groups = [...(supplementalGroups ?? []), ...(fsGroup === undefined ? [] : [fsGroup])];
  return {
    supplementalGroups: groups.map(BigInt),
    supplementalGroupsPolicy: SupplementalGroupsPolicy[supplementalGroupsPolicy ?? "Merge"],
  };
}

function apparmor(profile: SecurityContextSpec["appArmorProfile"]) {
  if (profile === undefined) return {};
  const { type, localhostProfile = "" } = profile;
  return { apparmor: { profileType: SecurityProfile_ProfileType[type], localhostRef: localhostProfile } };
}

function selinuxFields(context: Pick<SecurityContextSpec, "seLinuxOptions"> | undefined) {
  return context?.seLinuxOptions === undefined ? {} : { selinuxOptions: context.seLinuxOptions };
}

function seccomp(
  profile: SecurityContextSpec["seccompProfile"],
  home: PodHome,
): MessageInitShape<typeof SecurityProfileSchema> {
  const type = profile?.type ?? "RuntimeDefault";
  if (type !== "Localhost") return { profileType: SecurityProfile_ProfileType[type] };
  return {
    profileType: SecurityProfile_ProfileType.Localhost,
    localhostRef: join(home.stateDir, "seccomp", profile!.localhostProfile!),
  };
}

/** What the kubelet hides of the kernel's files in a container that is not privileged. */
const MASKED_PATHS = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
] as const;

const READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] as const;

function thermalPaths(cpuCount: number): string[] {
  return Array.from({ length: cpuCount }, (_, cpu) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`);
}

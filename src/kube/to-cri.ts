// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerConfig,
  ContainerConfigSchema,
  type LinuxContainerResourcesSchema,
  type LinuxContainerSecurityContextSchema,
  MountPropagation,
  type MountSchema,
  NamespaceMode,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
  Protocol,
  SecurityProfile_ProfileType,
  type SecurityProfileSchema,
  Signal,
  SupplementalGroupsPolicy,
} from "../gen/runtime/v1/api_pb.ts";
import { allContainers, sidecarsOf } from "./container-order.ts";
import { dnsSettings } from "./dns.ts";
import { expand, expandEnvironment } from "./expand.ts";
import type { ContainerSpec, PodSpec, SecurityContextSpec } from "./manifest/fields.ts";
import { SIGNALS } from "./manifest/signals.ts";
import {
  emptyDirPath,
  graceSecondsOf,
  hostsFile,
  type Pod,
  type PodHome,
  podHostname,
  podLogsDir,
} from "./pod.ts";
import { containerResources, podResources, qosClass, type Resources } from "./resources.ts";
import { messageFile, messagePath } from "./termination-message.ts";

/** The sandbox of a pod as a kubelet would ask for it. */
export function sandboxConfig(pod: Pod, attempt: number, home: PodHome): PodSandboxConfig {
  const { spec } = pod;
  const dns = dnsSettings(spec, home.hostResolvConf());
  return create(PodSandboxConfigSchema, {
    metadata: { name: pod.name, namespace: pod.namespace, uid: pod.uid, attempt },
    hostname: spec.hostNetwork ? "" : podHostname(pod),
    logDirectory: podLogsDir(home, pod),
    ...(dns === undefined
      ? {}
      : { dnsConfig: { servers: [...dns.servers], searches: [...dns.searches], options: [...dns.options] } }),
    portMappings: spec.hostNetwork ? [] : portMappings(spec),
    labels: { ...pod.labels, ...identityLabels(pod) },
    annotations: { ...pod.annotations },
    linux: {
      securityContext: {
        namespaceOptions: namespaceOptions(spec),
        ...userFields(spec.securityContext),
        ...groupFields(spec),
        privileged: allContainers(spec).some(({ securityContext }) => securityContext?.privileged),
        seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
      },
      sysctls: Object.fromEntries(
        (spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name.replaceAll("/", "."), value]),
      ),
      resources: resourceFields({ ...podResources(spec), oomScoreAdj: 0, hugepageLimits: [] }),
    },
  });
}

/** An image that is present: `id` names it, `reference` is how the manifest does. */
export interface PodImage {
  readonly id: string;
  readonly reference: string;
}

/** A container of a pod as a kubelet would ask for it. */
export function containerConfig(
  pod: Pod,
  container: ContainerSpec,
  attempt: number,
  image: PodImage,
  home: PodHome,
): ContainerConfig {
  const variables = expandEnvironment(container.env ?? []);
  const resources = containerResources(container, qosClass(allContainers(pod.spec)), home.machineMemoryBytes);
  return create(ContainerConfigSchema, {
    metadata: { name: container.name, attempt },
    image: { image: image.id, userSpecifiedImage: image.reference },
    command: (container.command ?? []).map((word) => expand(word, variables)),
    args: (container.args ?? []).map((word) => expand(word, variables)),
    workingDir: container.workingDir ?? "",
    envs: [...variables].map(([key, value]) => ({ key, value: new TextEncoder().encode(value) })),
    mounts: mounts(pod, container, attempt, home),
    labels: { ...identityLabels(pod), "io.kubernetes.container.name": container.name },
    annotations: annotations(pod, container, attempt),
    logPath: join(container.name, `${attempt}.log`),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    stopSignal: SIGNALS.get(container.lifecycle?.stopSignal ?? "") ?? Signal.RUNTIME_DEFAULT,
    linux: { resources: resourceFields(resources), securityContext: securityContext(pod, container, home) },
  });
}

function identityLabels(pod: Pod): Record<string, string> {
  return {
    "io.kubernetes.pod.name": pod.name,
    "io.kubernetes.pod.namespace": pod.namespace,
    "io.kubernetes.pod.uid": pod.uid,
  };
}

function annotations(pod: Pod, container: ContainerSpec, attempt: number): Record<string, string> {
  const hash = createHash("sha256").update(JSON.stringify(container)).digest("hex").slice(0, 8);
  return {
    "io.kubernetes.container.hash": hash,
    "io.kubernetes.container.restartCount": String(attempt),
    "io.kubernetes.pod.terminationGracePeriod": String(graceSecondsOf(pod)),
  };
}

function namespaceOptions(spec: PodSpec) {
  const pid = spec.shareProcessNamespace ? NamespaceMode.POD : NamespaceMode.CONTAINER;
  return {
    network: spec.hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    ipc: spec.hostIPC ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: spec.hostPID ? NamespaceMode.NODE : pid,
  };
}

function portMappings(spec: PodSpec) {
  const ports = [...sidecarsOf(spec), ...spec.containers].flatMap((container) => container.ports ?? []);
  return ports
    .filter((port) => port.hostPort !== undefined)
    .map((port) => ({
      protocol: Protocol[port.protocol ?? "TCP"],
      containerPort: port.containerPort,
      hostPort: port.hostPort!,
      hostIp: port.hostIP ?? "",
    }));
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

function securityContext(
  pod: Pod,
  container: ContainerSpec,
  home: PodHome,
): MessageInitShape<typeof LinuxContainerSecurityContextSchema> {
  const podContext = pod.spec.securityContext;
  const context = container.securityContext ?? {};
  const privileged = context.privileged ?? false;
  return {
    capabilities: {
      addCapabilities: [...(context.capabilities?.add ?? [])],
      dropCapabilities: [...(context.capabilities?.drop ?? [])],
    },
    privileged,
    namespaceOptions: namespaceOptions(pod.spec),
    ...userFields({ ...podContext, ...context }),
    ...groupFields(pod.spec),
    readonlyRootfs: context.readOnlyRootFilesystem ?? false,
    noNewPrivs: context.allowPrivilegeEscalation === false,
    maskedPaths: privileged ? [] : [...MASKED_PATHS, ...thermalPaths(home.cpuCount)],
    readonlyPaths: privileged ? [] : [...READONLY_PATHS],
    seccomp: seccomp(context.seccompProfile ?? podContext?.seccompProfile, home),
  };
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

function mounts(
  pod: Pod,
  container: ContainerSpec,
  attempt: number,
  home: PodHome,
): MessageInitShape<typeof MountSchema>[] {
  const volumes = new Map((pod.spec.volumes ?? []).map((volume) => [volume.name, volume]));
  const result = (container.volumeMounts ?? []).map((mount) => {
    const ofHost = volumes.get(mount.name)?.hostPath?.path;
    return {
      containerPath: mount.mountPath,
      hostPath: ofHost ?? emptyDirPath(home, pod, mount.name),
      readonly: mount.readOnly ?? false,
      propagation: PROPAGATION[mount.mountPropagation ?? "None"],
      // What is the pod's own gets its label; what is the host's keeps the one it has.
      selinuxRelabel: ofHost === undefined,
    };
  });
  const own = [
    { containerPath: "/etc/hosts", hostPath: hostsFile(home, pod), selinuxRelabel: true },
    {
      containerPath: messagePath(container),
      hostPath: messageFile(home, pod, container.name, attempt),
      selinuxRelabel: true,
    },
  ];
  const taken = new Set(result.map(({ containerPath }) => containerPath.replace(/\/+$/, "")));
  return [...result, ...own.filter(({ containerPath }) => !taken.has(containerPath))];
}

function resourceFields(resources: Resources): MessageInitShape<typeof LinuxContainerResourcesSchema> {
  return {
    cpuShares: BigInt(resources.cpuShares),
    ...(resources.cpuQuotaUs === undefined
      ? {}
      : { cpuQuota: BigInt(resources.cpuQuotaUs), cpuPeriod: BigInt(resources.cpuPeriodUs) }),
    memoryLimitInBytes: BigInt(resources.memoryLimitBytes ?? 0),
    oomScoreAdj: BigInt(resources.oomScoreAdj),
    hugepageLimits: resources.hugepageLimits.map(({ pageSize, limitBytes }) => ({
      pageSize,
      limit: BigInt(limitBytes),
    })),
  };
}

const PROPAGATION = {
  None: MountPropagation.PROPAGATION_PRIVATE,
  HostToContainer: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
  Bidirectional: MountPropagation.PROPAGATION_BIDIRECTIONAL,
} as const;

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

// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerConfig,
  ContainerConfigSchema,
  type LinuxContainerResourcesSchema,
  type MountSchema,
  type PodSandboxConfig,
  PodSandboxConfigSchema,
  Protocol,
  Signal,
} from "../gen/runtime/v1/api_pb.ts";
import { sidecarsOf } from "./container-order.ts";
import { portsAnnotation } from "./container-ports.ts";
import { dnsSettings } from "./dns.ts";
import { containerEnvironment } from "./environment.ts";
import { expand } from "./expand.ts";
import { podMapping } from "./host-ids.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import { SIGNALS } from "./manifest/signals.ts";
import { graceSecondsOf, hostsFile, type Pod, type PodHome, podHostname, podLogsDir } from "./pod.ts";
import { containerResources, podResources, type Resources } from "./resources.ts";
import { sandboxSecurityContext, securityContext } from "./security-context.ts";
import { messageFile, messagePath } from "./termination-message.ts";
import type { PodPlace } from "./values.ts";
import { volumeMounts } from "./volume-mounts.ts";

/** The sandbox of a pod as a kubelet would ask for it. */
export function sandboxConfig(pod: Pod, attempt: number, home: PodHome): PodSandboxConfig {
  const { spec } = pod;
  const dns = dnsSettings(pod, home.hostResolvConf(), home.nameServer());
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
      securityContext: sandboxSecurityContext(pod),
      sysctls: Object.fromEntries(
        (spec.securityContext?.sysctls ?? []).map(({ name, value }) => [name.replaceAll("/", "."), value]),
      ),
      resources: resourceFields({ ...podResources(spec), oomScoreAdj: 0 }),
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
  place: PodPlace,
): ContainerConfig {
  const variables = containerEnvironment(pod, container, home, place);
  const resources = containerResources(container, pod.spec, home.machineMemoryBytes);
  return create(ContainerConfigSchema, {
    metadata: { name: container.name, attempt },
    image: { image: image.id, userSpecifiedImage: image.reference },
    command: (container.command ?? []).map((word) => expand(word, variables)),
    args: (container.args ?? []).map((word) => expand(word, variables)),
    workingDir: container.workingDir ?? "",
    envs: [...variables].map(([key, value]) => ({ key, value: new TextEncoder().encode(value) })),
    mounts: mounts(pod, container, attempt, home, variables),
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
    ...portsAnnotation(container.ports),
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

function mounts(
  pod: Pod,
  container: ContainerSpec,
  attempt: number,
  home: PodHome,
  variables: ReadonlyMap<string, string>,
): MessageInitShape<typeof MountSchema>[] {
  const result = volumeMounts(pod, container, home, variables);
  const own = [
    { containerPath: "/etc/hosts", hostPath: hostsFile(home, pod), selinuxRelabel: true },
    {
      containerPath: messagePath(container),
      hostPath: messageFile(home, pod, container.name, attempt),
      selinuxRelabel: true,
    },
  ];
  const taken = new Set(result.map(({ containerPath }) => containerPath?.replace(/\/+$/, "")));
  const all = [...result, ...own.filter(({ containerPath }) => !taken.has(containerPath))];
  // Volumes have the ids that the pod sees, whatever range it was given: a claim outlives it.
  const ids = podMapping(pod);
  return ids.length === 0 ? all : all.map((mount) => ({ ...mount, uidMappings: ids, gidMappings: ids }));
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

// SPDX-License-Identifier: Apache-2.0
import { allContainers, isSidecar } from "./container-order.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";

/** Limits as the CRI and cgroup v1 speak of them; what is undefined is left to the runtime. */
export interface Resources {
  readonly cpuShares: number;
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs: number;
  readonly memoryLimitBytes?: number;
  readonly oomScoreAdj: number;
  readonly hugepageLimits: readonly { readonly pageSize: string; readonly limitBytes: number }[];
}

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

const PERIOD_US = 100_000;
const MIN_QUOTA_US = 1000;
const MIN_SHARES = 2;
const MAX_SHARES = 262_144;

/**
 * The quality-of-service class of a pod. Guaranteed: each container limits CPU and memory and asks
 * for no less; BestEffort: none asks for or limits either. Where the pod has amounts of its own these alone decide.
 */
export function qosClass(spec: PodSpec): QosClass {
  const all = ownsResources(spec) ? [{ resources: podAmounts(spec) }] : allContainers(spec);
  const amounts = all.flatMap(({ resources }) =>
    (["cpu", "memory"] as const).map((name) => ({
      limit: resources?.limits?.[name] ?? 0,
      request: resources?.requests?.[name] ?? resources?.limits?.[name] ?? 0,
    })),
  );
  if (amounts.every(({ limit, request }) => limit === 0 && request === 0)) return "BestEffort";
  return amounts.every(({ limit, request }) => limit > 0 && limit === request) ? "Guaranteed" : "Burstable";
}

/**
 * What the kubelet would ask the runtime to enforce for one container. Where it has no limit the pod's is told to
 * it, so that what looks at its cgroup sees what it may have.
 */
export function containerResources(
  container: ContainerSpec,
  spec: PodSpec,
  machineMemoryBytes: number,
): Resources {
  const { requests } = container.resources ?? {};
  const own = container.resources?.limits;
  const limits = limitsOf(container, spec);
  const memoryRequest = (requests?.memory ?? own?.memory ?? 0) + sharedMemoryRequest(spec);
  return {
    ...cpu(requests?.cpu ?? limits.cpu, limits.cpu),
    ...(limits.memory === undefined ? {} : { memoryLimitBytes: limits.memory }),
    oomScoreAdj: oomScore(qosClass(spec), memoryRequest, machineMemoryBytes),
    hugepageLimits: hugepageLimits(limits),
  };
}

/** The limits that hold for a container: its own, and where it has none its pod's. */
export function limitsOf({ resources }: Pick<ContainerSpec, "resources">, spec: PodSpec): Amounts {
  return { ...spec.resources?.limits, ...resources?.limits };
}

type Amounts = NonNullable<NonNullable<PodSpec["resources"]>["limits"]>;

function hugepageLimits(limits: Amounts): Resources["hugepageLimits"] {
  return (["2Mi", "1Gi"] as const).flatMap((size) => {
    const limitBytes = limits[`hugepages-${size}`];
    return limitBytes === undefined ? [] : [{ pageSize: `${size.slice(0, 2)}B`, limitBytes }];
  });
}

/** What the pod asks for beyond its containers is for each of them to an equal part (KEP-2837). */
function sharedMemoryRequest(spec: PodSpec): number {
  const own = podAmounts(spec).requests.memory;
  if (own === undefined) return 0;
  const all = allContainers(spec);
  return Math.trunc((own - requestedBy(spec, "memory")) / all.length);
}

/** What is given for the pod as a whole, with Kubernetes's defaults: its containers' requests, or else its limits. */
function podAmounts(spec: PodSpec): { readonly limits: Amounts; readonly requests: Amounts } {
  const { limits = {}, requests = {} } = spec.resources ?? {};
  if (!ownsResources(spec)) return { limits, requests };
  const asked = RESOURCES.flatMap((name) => {
    const amount = requests[name] ?? (requestedBy(spec, name) || limits[name]);
    return amount === undefined ? [] : [[name, amount] as const];
  });
  return { limits, requests: Object.fromEntries(asked) };
}

const RESOURCES = ["cpu", "memory", "hugepages-2Mi", "hugepages-1Gi"] as const;
type ResourceName = (typeof RESOURCES)[number];

function ownsResources({ resources }: PodSpec): boolean {
  return RESOURCES.some((name) => (resources?.limits?.[name] ?? resources?.requests?.[name]) !== undefined);
}

/** What the containers of a pod ask for at once. */
export function requestedBy(spec: PodSpec, name: ResourceName): number {
  return amountOfAll(spec, ({ resources }) => resources?.requests?.[name] ?? resources?.limits?.[name] ?? 0)!;
}

/** What they may have at once; undefined where one has no limit. */
function limitedTo(spec: PodSpec, name: ResourceName): number | undefined {
  return amountOfAll(spec, ({ resources }) => resources?.limits?.[name]);
}

/**
 * The limits of a pod's cgroup: its own, and where it has none those of its containers and sidecars together, or more
 * where an init container with the sidecars before it needs more. Such a limit exists only if all have one.
 */
export function podResources(spec: PodSpec): Omit<Resources, "oomScoreAdj"> {
  const { limits, requests } = podAmounts(spec);
  const memory = limits.memory ?? limitedTo(spec, "memory");
  return {
    ...cpu(requests.cpu ?? requestedBy(spec, "cpu"), limits.cpu ?? limitedTo(spec, "cpu")),
    ...(memory === undefined ? {} : { memoryLimitBytes: memory }),
    hugepageLimits: hugepageLimits(limits),
  };
}

/** Undefined where one container has no such amount. */
function amountOfAll(
  spec: PodSpec,
  amountOf: (container: ContainerSpec) => number | undefined,
): number | undefined {
  // NaN, once in a sum or maximum, stays.
  const amount = (container: ContainerSpec) => amountOf(container) ?? Number.NaN;
  let beside = 0;
  let most = 0;
  for (const container of spec.initContainers ?? []) {
    if (isSidecar(container)) beside += amount(container);
    most = Math.max(most, isSidecar(container) ? beside : beside + amount(container));
  }
  const whole = Math.max(
    most,
    spec.containers.reduce((sum, container) => sum + amount(container), beside),
  );
  return Number.isNaN(whole) ? undefined : whole;
}

function cpu(request: number | undefined, limit: number | undefined) {
  const shares = Math.floor(((request ?? 0) * 1024) / 1000);
  const quota = limit === undefined || limit === 0 ? undefined : Math.floor((limit * PERIOD_US) / 1000);
  return {
    cpuShares: Math.min(MAX_SHARES, Math.max(MIN_SHARES, shares)),
    ...(quota === undefined ? {} : { cpuQuotaUs: Math.max(MIN_QUOTA_US, quota) }),
    cpuPeriodUs: PERIOD_US,
  };
}

/**
 * Whom the kernel kills first when memory runs out: BestEffort pods, then those that use most of what
 * they asked for. A Burstable pod always stands between the two others.
 */
function oomScore(qos: QosClass, memoryRequest: number, machineMemoryBytes: number): number {
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const score = 1000 - Math.floor((1000 * memoryRequest) / machineMemoryBytes);
  return Math.min(999, Math.max(3, score));
}

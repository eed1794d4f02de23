// SPDX-License-Identifier: Apache-2.0
import { isSidecar } from "./container-order.ts";
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
 * for no less; BestEffort: none asks for or limits either.
 */
export function qosClass(containers: readonly ContainerSpec[]): QosClass {
  const amounts = containers.flatMap(({ resources }) =>
    (["cpu", "memory"] as const).map((name) => ({
      limit: resources?.limits?.[name] ?? 0,
      request: resources?.requests?.[name] ?? resources?.limits?.[name] ?? 0,
    })),
  );
  if (amounts.every(({ limit, request }) => limit === 0 && request === 0)) return "BestEffort";
  return amounts.every(({ limit, request }) => limit > 0 && limit === request) ? "Guaranteed" : "Burstable";
}

/** What the kubelet would ask the runtime to enforce for one container. */
export function containerResources(
  container: ContainerSpec,
  qos: QosClass,
  machineMemoryBytes: number,
): Resources {
  const { limits, requests } = container.resources ?? {};
  const memoryRequest = requests?.memory ?? limits?.memory ?? 0;
  const hugepageLimits = (["2Mi", "1Gi"] as const).flatMap((size) => {
    const limitBytes = limits?.[`hugepages-${size}`];
    return limitBytes === undefined ? [] : [{ pageSize: `${size.slice(0, 2)}B`, limitBytes }];
  });
  return {
    ...cpu(requests?.cpu ?? limits?.cpu, limits?.cpu),
    ...(limits?.memory === undefined ? {} : { memoryLimitBytes: limits.memory }),
    oomScoreAdj: oomScore(qos, memoryRequest, machineMemoryBytes),
    hugepageLimits,
  };
}

/**
 * What a pod needs in all, informational for the sandbox: its containers and sidecars together, or more
 * where an init container with the sidecars before it needs more. A limit exists only if all have one.
 */
export function podResources(
  spec: PodSpec,
): Pick<Resources, "cpuShares" | "cpuQuotaUs" | "cpuPeriodUs" | "memoryLimitBytes"> {
  const memory = podAmount(spec, ({ resources }) => resources?.limits?.memory);
  return {
    ...cpu(
      podAmount(spec, ({ resources }) => resources?.requests?.cpu ?? resources?.limits?.cpu ?? 0),
      podAmount(spec, ({ resources }) => resources?.limits?.cpu),
    ),
    ...(memory === undefined ? {} : { memoryLimitBytes: memory }),
  };
}

/** Undefined where one container has no such amount. */
function podAmount(
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

// SPDX-License-Identifier: Apache-2.0
import type { ContainerConfig, LinuxContainerResources } from "../gen/runtime/v1/api_pb.ts";
import { type Cgroup, openCgroup } from "../linux/cgroup/cgroup.ts";
import { DEFAULT_DEVICE_RULES } from "../linux/cgroup/device-rules.ts";
import type { CgroupResources } from "../linux/cgroup/resources.ts";
import type { RuntimeResources, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { podCgroup } from "./records.ts";
import type { Runtime } from "./runtime.ts";

/** Makes a container's cgroup with its limits and the devices it may use. */
export function makeCgroup(cgroup: Cgroup, config: ContainerConfig, spec: RuntimeSpec): void {
  cgroup.create();
  const pidsLimit = spec.linux.resources.pids?.limit;
  cgroup.apply({
    ...cgroupResources(config.linux?.resources),
    ...(pidsLimit === undefined ? {} : { pidsLimit }),
  });
  cgroup.applyDevices([...DEFAULT_DEVICE_RULES, ...(spec.linux.resources.devices ?? [])]);
}

/**
 * How many processes and threads a new container may have, for which the interface has no field: the configured number,
 * unless its pod's cgroup has a limit, which is then a kubelet's to choose. Undefined for no limit.
 */
export function pidsLimitFor({ cgroups, config }: Runtime, sandbox: SandboxRecord): number | undefined {
  const limit = config.cgroup.pids_limit;
  if (limit === -1 || !cgroups.controllers.includes("pids")) return undefined;
  return openCgroup(cgroups, podCgroup(sandbox)).pidsLimit() === undefined ? limit : undefined;
}

/** The limits of the interface as the cgroup layer takes them; zero and empty mean "not set". */
export function cgroupResources(resources: LinuxContainerResources | undefined): CgroupResources {
  if (resources === undefined) return {};
  const set = <K extends keyof CgroupResources>(name: K, value: bigint): Partial<CgroupResources> =>
    value === 0n ? {} : { [name]: Number(value) };
  const limit = resources.memoryLimitInBytes;
  // No swap unless asked for: the limit of memory and swap together is that of memory alone.
  const swap =
    resources.memorySwapLimitInBytes === 0n && limit > 0n ? limit : resources.memorySwapLimitInBytes;
  return {
    ...set("cpuShares", resources.cpuShares),
    ...set("cpuQuota", resources.cpuQuota),
    ...set("cpuPeriod", resources.cpuPeriod),
    ...set("memoryLimitBytes", limit),
    ...set("memorySwapLimitBytes", swap),
    ...(resources.cpusetCpus === "" ? {} : { cpusetCpus: resources.cpusetCpus }),
    ...(resources.cpusetMems === "" ? {} : { cpusetMems: resources.cpusetMems }),
    ...(resources.hugepageLimits.length === 0
      ? {}
      : {
          hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit: bytes }) => ({
            pageSize,
            limitBytes: Number(bytes),
          })),
        }),
    ...(Object.keys(resources.unified).length === 0 ? {} : { unified: resources.unified }),
  };
}

/** The limits as the OCI runtime configuration says them (runtime-spec, config-linux.md, "Control groups"). */
export function runtimeResources(resources: LinuxContainerResources | undefined): RuntimeResources {
  const limits = cgroupResources(resources);
  const memory = defined({ limit: limits.memoryLimitBytes, swap: limits.memorySwapLimitBytes });
  const cpu = defined({
    shares: limits.cpuShares,
    quota: limits.cpuQuota,
    period: limits.cpuPeriod,
    cpus: limits.cpusetCpus,
    mems: limits.cpusetMems,
  });
  const hugepageLimits = limits.hugepageLimits?.map(({ pageSize, limitBytes: limit }) => ({
    pageSize,
    limit,
  }));
  return defined({ memory, cpu, hugepageLimits, unified: limits.unified }) ?? {};
}

/** The fields that have a value; undefined when none has. */
function defined<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } | undefined {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return undefined;
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}

// SPDX-License-Identifier: Apache-2.0
import { sharesOfWeight } from "./cpu.ts";
import { type CgroupReader, rowOf } from "./reader.ts";

/** What a cgroup and those below it have used of the processors; undefined where a controller is missing. */
export interface CpuStats {
  readonly usageNs: bigint | undefined;
  readonly userNs: bigint | undefined;
  readonly systemNs: bigint | undefined;
  readonly bandwidth: CpuBandwidth | undefined;
}

/** The limits of the cpu controller and how often they were felt. */
export interface CpuBandwidth {
  /** Relative weight, v1 scale; on v2 worked out from cpu.weight. */
  readonly shares: number;
  readonly periodUs: number;
  /** Undefined when there is no limit. */
  readonly quotaUs: number | undefined;
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledNs: bigint;
}

/** CPU time used by the cgroup and those below it; undefined without the controller. */
export function cpuUsageNs(cgroup: CgroupReader): bigint | undefined {
  if (cgroup.version === "v2") return nanoseconds(v2Stat(cgroup), "usage_usec");
  if (cgroup.directory("cpuacct") === undefined) return undefined;
  return BigInt(cgroup.read("cpuacct", "cpuacct.usage"));
}

export function cpuStats(cgroup: CgroupReader): CpuStats {
  return cgroup.version === "v1" ? v1(cgroup) : v2(cgroup);
}

function v1(cgroup: CgroupReader): CpuStats {
  const split = (name: string) => {
    const text = cgroup.tryRead("cpuacct", `cpuacct.${name}`);
    return text ? BigInt(text) : undefined;
  };
  return {
    usageNs: cpuUsageNs(cgroup),
    userNs: split("usage_user"),
    systemNs: split("usage_sys"),
    bandwidth: v1Bandwidth(cgroup),
  };
}

function v1Bandwidth(cgroup: CgroupReader): CpuBandwidth | undefined {
  const shares = cgroup.tryRead("cpu", "cpu.shares");
  if (!shares) return undefined;
  const quota = Number(cgroup.tryRead("cpu", "cpu.cfs_quota_us") ?? -1);
  const stat = cgroup.read("cpu", "cpu.stat");
  return {
    shares: Number(shares),
    periodUs: Number(cgroup.tryRead("cpu", "cpu.cfs_period_us") ?? 0),
    quotaUs: quota < 0 ? undefined : quota,
    periods: rowOf(stat, "nr_periods") ?? 0,
    throttledPeriods: rowOf(stat, "nr_throttled") ?? 0,
    throttledNs: BigInt(rowOf(stat, "throttled_time") ?? 0),
  };
}

/** cpu.stat is there even where the controller is not enabled. */
function v2Stat(cgroup: CgroupReader): string {
  return cgroup.directory("cgroup") === undefined ? "" : cgroup.read("cgroup", "cpu.stat");
}

function v2(cgroup: CgroupReader): CpuStats {
  const stat = v2Stat(cgroup);
  return {
    usageNs: nanoseconds(stat, "usage_usec"),
    userNs: nanoseconds(stat, "user_usec"),
    systemNs: nanoseconds(stat, "system_usec"),
    bandwidth: v2Bandwidth(cgroup, stat),
  };
}

function v2Bandwidth(cgroup: CgroupReader, stat: string): CpuBandwidth | undefined {
  const weight = cgroup.tryRead("cpu", "cpu.weight");
  if (!weight) return undefined;
  const [quota = "max", period] = (cgroup.tryRead("cpu", "cpu.max") ?? "").split(" ");
  return {
    shares: sharesOfWeight(Number(weight)),
    periodUs: Number(period ?? 0),
    quotaUs: quota === "max" || quota === "" ? undefined : Number(quota),
    periods: rowOf(stat, "nr_periods") ?? 0,
    throttledPeriods: rowOf(stat, "nr_throttled") ?? 0,
    throttledNs: nanoseconds(stat, "throttled_usec") ?? 0n,
  };
}

function nanoseconds(stat: string, name: string): bigint | undefined {
  const microseconds = rowOf(stat, name);
  return microseconds === undefined ? undefined : BigInt(microseconds) * 1000n;
}

// SPDX-License-Identifier: Apache-2.0
import { sharesOfWeight } from "./cpu.ts";
import { read, readTable, tryRead } from "./files.ts";
import type { CgroupDirectories } from "./resources.ts";

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
export function cpuUsageNs(cgroup: CgroupDirectories): bigint | undefined {
  if (cgroup.version === "v1") {
    const directory = cgroup.directory("cpuacct");
    return directory === undefined ? undefined : BigInt(read(`${directory}/cpuacct.usage`));
  }
  // cpu.stat is there even where the controller is not enabled.
  const directory = cgroup.directory("cgroup");
  return directory === undefined ? undefined : nanoseconds(readTable(`${directory}/cpu.stat`), "usage_usec");
}

export function cpuStats(cgroup: CgroupDirectories): CpuStats {
  return cgroup.version === "v1" ? v1(cgroup) : v2(cgroup);
}

function v1(cgroup: CgroupDirectories): CpuStats {
  const accounting = cgroup.directory("cpuacct");
  const split = (name: string) => {
    const text = accounting && tryRead(`${accounting}/cpuacct.${name}`);
    return text ? BigInt(text) : undefined;
  };
  return {
    usageNs: cpuUsageNs(cgroup),
    userNs: split("usage_user"),
    systemNs: split("usage_sys"),
    bandwidth: v1Bandwidth(cgroup.directory("cpu")),
  };
}

function v1Bandwidth(directory: string | undefined): CpuBandwidth | undefined {
  const shares = directory && tryRead(`${directory}/cpu.shares`);
  if (!shares) return undefined;
  const quota = Number(tryRead(`${directory}/cpu.cfs_quota_us`) ?? -1);
  const table = readTable(`${directory}/cpu.stat`);
  return {
    shares: Number(shares),
    periodUs: Number(tryRead(`${directory}/cpu.cfs_period_us`) ?? 0),
    quotaUs: quota < 0 ? undefined : quota,
    periods: table.get("nr_periods") ?? 0,
    throttledPeriods: table.get("nr_throttled") ?? 0,
    throttledNs: BigInt(table.get("throttled_time") ?? 0),
  };
}

function v2(cgroup: CgroupDirectories): CpuStats {
  const directory = cgroup.directory("cgroup");
  const table = directory === undefined ? new Map<string, number>() : readTable(`${directory}/cpu.stat`);
  return {
    usageNs: nanoseconds(table, "usage_usec"),
    userNs: nanoseconds(table, "user_usec"),
    systemNs: nanoseconds(table, "system_usec"),
    bandwidth: v2Bandwidth(cgroup.directory("cpu"), table),
  };
}

function v2Bandwidth(
  directory: string | undefined,
  table: ReadonlyMap<string, number>,
): CpuBandwidth | undefined {
  const weight = directory && tryRead(`${directory}/cpu.weight`);
  if (!weight) return undefined;
  const [quota = "max", period] = (tryRead(`${directory}/cpu.max`) ?? "").split(" ");
  return {
    shares: sharesOfWeight(Number(weight)),
    periodUs: Number(period ?? 0),
    quotaUs: quota === "max" || quota === "" ? undefined : Number(quota),
    periods: table.get("nr_periods") ?? 0,
    throttledPeriods: table.get("nr_throttled") ?? 0,
    throttledNs: nanoseconds(table, "throttled_usec") ?? 0n,
  };
}

function nanoseconds(table: ReadonlyMap<string, number>, name: string): bigint | undefined {
  const microseconds = table.get(name);
  return microseconds === undefined ? undefined : BigInt(microseconds) * 1000n;
}

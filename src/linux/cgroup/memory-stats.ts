// SPDX-License-Identifier: Apache-2.0
import { type CgroupReader, rowOf } from "./reader.ts";

/** What a cgroup and those below it have of memory. */
export interface MemoryStats {
  readonly usageBytes: number;
  /** What cannot be reclaimed at once: usage without inactive file pages. */
  readonly workingSetBytes: number;
  readonly rssBytes: number;
  /** Undefined when there is no limit. */
  readonly limitBytes: number | undefined;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  /** Undefined where the kernel does not account for swap. */
  readonly swapBytes: number | undefined;
  /** Beside the memory's limit, not with it; undefined when there is none, or no accounting. */
  readonly swapLimitBytes: number | undefined;
}

/** The same with what is told less often; undefined what this kernel or version of cgroups does not count. */
export interface MemoryDetails extends MemoryStats {
  readonly cacheBytes: number;
  readonly mappedFileBytes: number;
  readonly kernelBytes: number | undefined;
  readonly maxUsageBytes: number | undefined;
  /** How often the limit was met. */
  readonly limitHits: number | undefined;
  /** What reclaim spares under pressure; undefined when nothing is reserved. */
  readonly reservationBytes: number | undefined;
  /** Page faults of this cgroup alone; on v2 they are counted together with those below. */
  readonly ownPageFaults: number;
  readonly ownMajorPageFaults: number;
  /** Processes that the kernel killed for want of memory, since the cgroup was made. */
  readonly oomKills: number;
}

/** A row of memory.stat, by its name in each version; on v1 the row that counts those below as well. */
type Row = (v1Name: string, v2Name?: string) => number | undefined;

/** v1 shows "no limit" as the largest multiple of the page size below 2^63. */
const NO_LIMIT_BYTES = 2 ** 62;

/** Undefined without the controller. */
export function memoryStats(cgroup: CgroupReader): MemoryStats | undefined {
  return cgroup.directory("memory") === undefined ? undefined : statsOf(cgroup, rowsOf(cgroup));
}

/** Undefined without the controller. */
export function memoryDetails(cgroup: CgroupReader): MemoryDetails | undefined {
  if (cgroup.directory("memory") === undefined) return undefined;
  const row = rowsOf(cgroup);
  const isV1 = cgroup.version === "v1";
  const reservation = numberIn(cgroup, isV1 ? "soft_limit_in_bytes" : "low");
  const events = cgroup.read("memory", isV1 ? "memory.oom_control" : "memory.events");
  return {
    ...statsOf(cgroup, row),
    cacheBytes: row("total_cache", "file") ?? 0,
    mappedFileBytes: row("total_mapped_file", "file_mapped") ?? 0,
    kernelBytes: isV1 ? numberIn(cgroup, "kmem.usage_in_bytes") : (row("", "kernel") ?? 0),
    maxUsageBytes: numberIn(cgroup, isV1 ? "max_usage_in_bytes" : "peak"),
    limitHits: isV1 ? v1LimitHits(cgroup) : rowOf(events, "max"),
    // Nothing reserved is v1's largest number and v2's smallest.
    reservationBytes: reservation === 0 ? undefined : reservation,
    ownPageFaults: row("pgfault") ?? 0,
    ownMajorPageFaults: row("pgmajfault") ?? 0,
    oomKills: rowOf(events, "oom_kill") ?? 0,
  };
}

/** Processes of the cgroup that the kernel killed for want of memory, since it was made. */
export function oomKills(cgroup: CgroupReader): number {
  if (cgroup.directory("memory") === undefined) return 0;
  const file = cgroup.version === "v1" ? "memory.oom_control" : "memory.events";
  return rowOf(cgroup.read("memory", file), "oom_kill") ?? 0;
}

/** The memory limit in force in a cgroup; -1 when there is none. */
export function currentLimit(cgroup: CgroupReader): number {
  const file = cgroup.version === "v1" ? "memory.limit_in_bytes" : "memory.max";
  return limitIn(cgroup.read("memory", file)) ?? -1;
}

function rowsOf(cgroup: CgroupReader): Row {
  const stat = cgroup.read("memory", "memory.stat");
  return cgroup.version === "v1"
    ? (v1Name) => rowOf(stat, v1Name)
    : (v1Name, v2Name = v1Name) => rowOf(stat, v2Name);
}

function statsOf(cgroup: CgroupReader, row: Row): MemoryStats {
  const isV1 = cgroup.version === "v1";
  const usageBytes = Number(cgroup.read("memory", isV1 ? "memory.usage_in_bytes" : "memory.current"));
  const limit = currentLimit(cgroup);
  const limitBytes = limit === -1 ? undefined : limit;
  return {
    usageBytes,
    workingSetBytes: Math.max(0, usageBytes - (row("total_inactive_file", "inactive_file") ?? 0)),
    rssBytes: row("total_rss", "anon") ?? 0,
    limitBytes,
    pageFaults: row("total_pgfault", "pgfault") ?? 0,
    majorPageFaults: row("total_pgmajfault", "pgmajfault") ?? 0,
    ...(isV1 ? v1Swap(cgroup, row, limitBytes) : v2Swap(cgroup)),
  };
}

/** Where memory and swap have one limit together, that one is met first, and counted by itself. */
export function v1LimitHits(cgroup: CgroupReader): number | undefined {
  const hits = numberIn(cgroup, "failcnt");
  return hits === undefined ? undefined : hits + (numberIn(cgroup, "memsw.failcnt") ?? 0);
}

type Swap = Pick<MemoryStats, "swapBytes" | "swapLimitBytes">;

function v1Swap(cgroup: CgroupReader, row: Row, limitBytes: number | undefined): Swap {
  const both = limitBytes === undefined ? undefined : numberIn(cgroup, "memsw.limit_in_bytes");
  // Between the two looks the limits may have changed.
  const swapLimitBytes = both === undefined ? undefined : Math.max(0, both - (limitBytes ?? 0));
  return { swapBytes: row("total_swap"), swapLimitBytes };
}

function v2Swap(cgroup: CgroupReader): Swap {
  return {
    swapBytes: numberIn(cgroup, "swap.current"),
    swapLimitBytes: numberIn(cgroup, "swap.max"),
  };
}

/** The number in a file of the memory controller; undefined for "no limit" and where there is no such file. */
function numberIn(cgroup: CgroupReader, name: string): number | undefined {
  const text = cgroup.tryRead("memory", `memory.${name}`);
  return text === undefined ? undefined : limitIn(text);
}

function limitIn(text: string): number | undefined {
  return text === "max" || Number(text) >= NO_LIMIT_BYTES ? undefined : Number(text);
}

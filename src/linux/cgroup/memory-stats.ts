// SPDX-License-Identifier: Apache-2.0
import { read, readTable, tryRead } from "./files.ts";
import type { CgroupDirectories } from "./resources.ts";

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

/** Where the memory controller's files are, and what memory.stat says. */
interface Source {
  readonly version: "v1" | "v2";
  readonly directory: string;
  /** A row of memory.stat, by its name in each version; on v1 the row that counts those below as well. */
  row(v1Name: string, v2Name?: string): number;
  has(name: string): boolean;
}

/** v1 shows "no limit" as the largest multiple of the page size below 2^63. */
const NO_LIMIT_BYTES = 2 ** 62;

/** Undefined without the controller. */
export function memoryStats(cgroup: CgroupDirectories): MemoryStats | undefined {
  const source = openSource(cgroup);
  return source && statsOf(source);
}

/** Undefined without the controller. */
export function memoryDetails(cgroup: CgroupDirectories): MemoryDetails | undefined {
  const source = openSource(cgroup);
  if (source === undefined) return undefined;
  const { version, directory, row } = source;
  const isV1 = version === "v1";
  const optional = (v1Name: string, v2Name: string) =>
    numberIn(`${directory}/memory.${isV1 ? v1Name : v2Name}`);
  const reservation = optional("soft_limit_in_bytes", "low");
  return {
    ...statsOf(source),
    cacheBytes: row("total_cache", "file"),
    mappedFileBytes: row("total_mapped_file", "file_mapped"),
    kernelBytes: isV1 ? numberIn(`${directory}/memory.kmem.usage_in_bytes`) : row("", "kernel"),
    maxUsageBytes: optional("max_usage_in_bytes", "peak"),
    limitHits: isV1 ? v1LimitHits(directory) : readTable(`${directory}/memory.events`).get("max"),
    // Nothing reserved is v1's largest number and v2's smallest.
    reservationBytes: reservation === 0 ? undefined : reservation,
    ownPageFaults: row("pgfault"),
    ownMajorPageFaults: row("pgmajfault"),
    oomKills: oomKills(cgroup),
  };
}

/** Processes of the cgroup that the kernel killed for want of memory, since it was made. */
export function oomKills(cgroup: CgroupDirectories): number {
  const directory = cgroup.directory("memory");
  if (directory === undefined) return 0;
  const file = cgroup.version === "v1" ? "memory.oom_control" : "memory.events";
  return readTable(`${directory}/${file}`).get("oom_kill") ?? 0;
}

/** The limit in force in a directory of the memory controller; -1 when there is none. */
export function currentLimit(version: "v1" | "v2", directory: string): number {
  return limitIn(read(`${directory}/${version === "v1" ? "memory.limit_in_bytes" : "memory.max"}`)) ?? -1;
}

function openSource(cgroup: CgroupDirectories): Source | undefined {
  const directory = cgroup.directory("memory");
  if (directory === undefined) return undefined;
  const table = readTable(`${directory}/memory.stat`);
  const { version } = cgroup;
  return {
    version,
    directory,
    row: (v1Name, v2Name = v1Name) => table.get(version === "v1" ? v1Name : v2Name) ?? 0,
    has: (name) => table.has(name),
  };
}

function statsOf(source: Source): MemoryStats {
  const { version, directory, row } = source;
  const usageBytes = Number(
    read(`${directory}/${version === "v1" ? "memory.usage_in_bytes" : "memory.current"}`),
  );
  const limit = currentLimit(version, directory);
  const limitBytes = limit === -1 ? undefined : limit;
  return {
    usageBytes,
    workingSetBytes: Math.max(0, usageBytes - row("total_inactive_file", "inactive_file")),
    rssBytes: row("total_rss", "anon"),
    limitBytes,
    pageFaults: row("total_pgfault", "pgfault"),
    majorPageFaults: row("total_pgmajfault", "pgmajfault"),
    ...(version === "v1" ? v1Swap(source, limitBytes) : v2Swap(directory)),
  };
}

/** Where memory and swap have one limit together, that one is met first, and counted by itself. */
export function v1LimitHits(directory: string): number | undefined {
  const hits = numberIn(`${directory}/memory.failcnt`);
  return hits === undefined ? undefined : hits + (numberIn(`${directory}/memory.memsw.failcnt`) ?? 0);
}

type Swap = Pick<MemoryStats, "swapBytes" | "swapLimitBytes">;

function v1Swap({ directory, row, has }: Source, limitBytes: number | undefined): Swap {
  const swapBytes = has("total_swap") ? row("total_swap") : undefined;
  const both = limitBytes === undefined ? undefined : numberIn(`${directory}/memory.memsw.limit_in_bytes`);
  // Between the two looks the limits may have changed.
  const swapLimitBytes = both === undefined ? undefined : Math.max(0, both - (limitBytes ?? 0));
  return { swapBytes, swapLimitBytes };
}

function v2Swap(directory: string): Swap {
  return {
    swapBytes: numberIn(`${directory}/memory.swap.current`),
    swapLimitBytes: numberIn(`${directory}/memory.swap.max`),
  };
}

/** The number in a file; undefined for "no limit" and where there is no such file. */
function numberIn(file: string): number | undefined {
  const text = tryRead(file);
  return text === undefined ? undefined : limitIn(text);
}

function limitIn(text: string): number | undefined {
  return text === "max" || Number(text) >= NO_LIMIT_BYTES ? undefined : Number(text);
}

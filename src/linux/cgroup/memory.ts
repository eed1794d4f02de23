// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../../errors.ts";
import { exists, read, readTable, tryRead } from "./files.ts";
import {
  type CgroupDirectories,
  type CgroupResources,
  checkLimit,
  directoryFor,
  isSet,
  type Setting,
} from "./resources.ts";

export interface MemoryStats {
  readonly usageBytes: number;
  /** What cannot be reclaimed at once: usage without inactive file pages. */
  readonly workingSetBytes: number;
  readonly rssBytes: number;
  /** Undefined when there is no limit. */
  readonly limitBytes: number | undefined;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
}

/** v1 shows "no limit" as the largest multiple of the page size below 2^63. */
const NO_LIMIT_BYTES = 2 ** 62;

/** The files that make the memory controller follow `resources`, in an order the kernel accepts. */
export function memorySettings(cgroup: CgroupDirectories, resources: CgroupResources): Setting[] {
  const { memoryLimitBytes, memorySwapLimitBytes } = resources;
  if (isSet(memoryLimitBytes)) checkLimit("memoryLimitBytes", memoryLimitBytes, 1);
  if (isSet(memorySwapLimitBytes)) checkLimit("memorySwapLimitBytes", memorySwapLimitBytes, 1);
  if (!isSet(memoryLimitBytes) && !isSet(memorySwapLimitBytes)) return [];
  const field = isSet(memoryLimitBytes) ? "memoryLimitBytes" : "memorySwapLimitBytes";
  const directory = directoryFor(cgroup, "memory", field);
  const limit = isSet(memoryLimitBytes) ? memoryLimitBytes : currentLimit(cgroup.version, directory);
  const total = isSet(memorySwapLimitBytes) ? memorySwapLimitBytes : limit;
  if (total !== -1 && (limit === -1 || total < limit)) {
    throw new InvalidArgumentError(
      "memorySwapLimitBytes",
      `is memory and swap together, so it cannot be less than the memory limit (${total} < ${limitText(limit)})`,
    );
  }
  return cgroup.version === "v1" ? v1(directory, limit, total) : v2(directory, limit, total);
}

/** Processes of the cgroup that the kernel killed for want of memory, since it was made. */
export function oomKills(cgroup: CgroupDirectories): number {
  const directory = cgroup.directory("memory");
  if (directory === undefined) return 0;
  const file = cgroup.version === "v1" ? "memory.oom_control" : "memory.events";
  return readTable(`${directory}/${file}`).get("oom_kill") ?? 0;
}

/** What the cgroup uses; undefined without the controller. */
export function memoryStats(cgroup: CgroupDirectories): MemoryStats | undefined {
  const directory = cgroup.directory("memory");
  if (directory === undefined) return undefined;
  const isV1 = cgroup.version === "v1";
  const table = readTable(`${directory}/memory.stat`);
  const field = (v1Name: string, v2Name: string) => table.get(isV1 ? v1Name : v2Name) ?? 0;
  const usageBytes = Number(read(`${directory}/${isV1 ? "memory.usage_in_bytes" : "memory.current"}`));
  const limit = currentLimit(cgroup.version, directory);
  return {
    usageBytes,
    workingSetBytes: Math.max(0, usageBytes - field("total_inactive_file", "inactive_file")),
    rssBytes: field("total_rss", "anon"),
    limitBytes: limit === -1 ? undefined : limit,
    pageFaults: field("total_pgfault", "pgfault"),
    majorPageFaults: field("total_pgmajfault", "pgmajfault"),
  };
}

function v1(directory: string, limit: number, total: number): Setting[] {
  const limitSetting = { file: `${directory}/memory.limit_in_bytes`, value: `${limit}` };
  const totalFile = `${directory}/memory.memsw.limit_in_bytes`;
  const formerTotal = tryRead(totalFile);
  if (formerTotal === undefined) {
    if (total !== limit) throw noSwapAccounting(totalFile);
    return [limitSetting];
  }
  const totalSetting = { file: totalFile, value: `${total}` };
  // At no moment may the limit exceed memory and swap together: whichever rises beyond goes second.
  const fits = Number(formerTotal) >= (limit === -1 ? Number.POSITIVE_INFINITY : limit);
  return fits ? [limitSetting, totalSetting] : [totalSetting, limitSetting];
}

function v2(directory: string, limit: number, total: number): Setting[] {
  const limitSetting = { file: `${directory}/memory.max`, value: limitText(limit) };
  const swapFile = `${directory}/memory.swap.max`;
  if (!exists(swapFile)) {
    if (total !== limit) throw noSwapAccounting(swapFile);
    return [limitSetting];
  }
  return [limitSetting, { file: swapFile, value: total === -1 ? "max" : `${total - limit}` }];
}

function currentLimit(version: "v1" | "v2", directory: string): number {
  const text = read(`${directory}/${version === "v1" ? "memory.limit_in_bytes" : "memory.max"}`);
  return text === "max" || Number(text) >= NO_LIMIT_BYTES ? -1 : Number(text);
}

function noSwapAccounting(file: string): Error {
  return new FailedPreconditionError(
    `memorySwapLimitBytes cannot be honoured: ${file} does not exist, so the kernel does not account for ` +
      "swap (boot with swapaccount=1, or make the swap limit equal to the memory limit)",
  );
}

function limitText(limit: number): string {
  return limit === -1 ? "max" : `${limit}`;
}

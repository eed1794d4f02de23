// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../../errors.ts";
import { exists, tryRead } from "./files.ts";
import { currentLimit } from "./memory-stats.ts";
import { CgroupReader } from "./reader.ts";
import {
  type CgroupDirectories,
  type CgroupResources,
  checkLimit,
  directoryFor,
  isSet,
  type Setting,
} from "./resources.ts";

/** The files that make the memory controller follow `resources`, in an order the kernel accepts. */
export function memorySettings(cgroup: CgroupDirectories, resources: CgroupResources): Setting[] {
  const { memoryLimitBytes, memorySwapLimitBytes } = resources;
  if (isSet(memoryLimitBytes)) checkLimit("memoryLimitBytes", memoryLimitBytes, 1);
  if (isSet(memorySwapLimitBytes)) checkLimit("memorySwapLimitBytes", memorySwapLimitBytes, 1);
  if (!isSet(memoryLimitBytes) && !isSet(memorySwapLimitBytes)) return [];
  const field = isSet(memoryLimitBytes) ? "memoryLimitBytes" : "memorySwapLimitBytes";
  const directory = directoryFor(cgroup, "memory", field);
  const limit = isSet(memoryLimitBytes) ? memoryLimitBytes : currentLimit(new CgroupReader(cgroup));
  const total = isSet(memorySwapLimitBytes) ? memorySwapLimitBytes : limit;
  if (total !== -1 && (limit === -1 || total < limit)) {
    throw new InvalidArgumentError(
      "memorySwapLimitBytes",
      `is memory and swap together, so it cannot be less than the memory limit (${total} < ${limitText(limit)})`,
    );
  }
  return cgroup.version === "v1" ? v1(directory, limit, total) : v2(directory, limit, total);
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

function noSwapAccounting(file: string): Error {
  return new FailedPreconditionError(
    `memorySwapLimitBytes cannot be honoured: ${file} does not exist, so the kernel does not account for ` +
      "swap (boot with swapaccount=1, or make the swap limit equal to the memory limit)",
  );
}

function limitText(limit: number): string {
  return limit === -1 ? "max" : `${limit}`;
}

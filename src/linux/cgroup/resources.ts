// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";

/**
 * Limits of a cgroup. As in CRI's LinuxContainerResources, what is 0, empty or absent stays as it is, and
 * -1 takes a limit away.
 */
export interface CgroupResources {
  /** Relative weight, v1 scale: 2 to 262144, usual 1024. */
  readonly cpuShares?: number;
  /** CPU time in microseconds that may be used in each period. */
  readonly cpuQuota?: number;
  /** Microseconds, 1000 to 1000000. */
  readonly cpuPeriod?: number;
  /** `0-2,5`. */
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly memoryLimitBytes?: number;
  /** Memory and swap together; equal to the memory limit (no swap) where only that is given. */
  readonly memorySwapLimitBytes?: number;
  readonly pidsLimit?: number;
  readonly hugepageLimits?: readonly HugepageLimit[];
  /** Files of cgroup v2 with what to write, verbatim. */
  readonly unified?: Readonly<Record<string, string>>;
}

export interface HugepageLimit {
  /** `2MB`, `1GB`. */
  readonly pageSize: string;
  readonly limitBytes: number;
}

/** Where the files of one cgroup are; undefined for a controller that this machine does not have. */
export interface CgroupDirectories {
  readonly version: "v1" | "v2";
  directory(controller: string): string | undefined;
}

/** One file to write, all of them together or none (see transaction.ts). */
export interface Setting {
  readonly file: string;
  readonly value: string;
}

/** True for a limit that was really given. */
export function isSet(limit: number | undefined): limit is number {
  return limit !== undefined && limit !== 0;
}

/** The directory of a controller that a limit needs. */
export function directoryFor(cgroup: CgroupDirectories, controller: string, field: string): string {
  const directory = cgroup.directory(controller);
  if (directory !== undefined) return directory;
  throw new InvalidArgumentError(
    field,
    `cannot be honoured: this machine has no ${controller} cgroup controller (enable it, or set no such limit)`,
  );
}

/** -1 and safe integers from `least` on are limits; anything else is a mistake of the caller. */
export function checkLimit(field: string, limit: number, least: number): void {
  if (limit === -1 || (Number.isSafeInteger(limit) && limit >= least)) return;
  throw new InvalidArgumentError(field, `must be -1 or an integer from ${least} on, but is ${limit}`);
}

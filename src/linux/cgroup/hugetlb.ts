// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { InvalidArgumentError } from "../../errors.ts";
import { exists } from "./files.ts";
import type { CgroupReader } from "./reader.ts";
import { type CgroupDirectories, type CgroupResources, checkLimit, type Setting } from "./resources.ts";

/** Huge pages of one size that a cgroup and those below it have; v2 keeps no maximum. */
export interface HugetlbStats {
  /** `2MB`, `1GB`. */
  readonly pageSize: string;
  readonly usageBytes: number;
  readonly maxUsageBytes: number | undefined;
}

/**
 * The files that make the hugetlb controller follow `resources`. A machine without the controller is
 * accepted, as CRI clients send these limits to every machine.
 */
export function hugetlbSettings(cgroup: CgroupDirectories, { hugepageLimits }: CgroupResources): Setting[] {
  const directory = cgroup.directory("hugetlb");
  if (directory === undefined) return [];
  return (hugepageLimits ?? []).flatMap(({ pageSize, limitBytes }, index) => {
    if (!/^[0-9]{1,6}[KMG]B$/.test(pageSize)) {
      throw new InvalidArgumentError(
        `hugepageLimits[${index}].pageSize`,
        `must be like 2MB, but is ${JSON.stringify(pageSize)}`,
      );
    }
    checkLimit(`hugepageLimits[${index}].limitBytes`, limitBytes, 0);
    const value = limitBytes === -1 && cgroup.version === "v2" ? "max" : `${limitBytes}`;
    const limit = cgroup.version === "v1" ? "limit_in_bytes" : "max";
    // Pages are charged when reserved (mmap) since Linux 5.7, and when touched: both have a limit.
    const reserved = `${directory}/hugetlb.${pageSize}.rsvd.${limit}`;
    const used = { file: `${directory}/hugetlb.${pageSize}.${limit}`, value };
    return exists(reserved) ? [used, { file: reserved, value }] : [used];
  });
}

/** One entry per page size; none without the controller. */
export function hugetlbStats(cgroup: CgroupReader): readonly HugetlbStats[] {
  const directory = cgroup.directory("hugetlb");
  if (directory === undefined || !exists(directory)) return [];
  const name = cgroup.version === "v1" ? "usage_in_bytes" : "current";
  return readdirSync(directory).flatMap((file) => {
    const pageSize = /^hugetlb\.([0-9]{1,6}[KMG]B)\.([a-z_]+)$/.exec(file);
    const usage = pageSize?.[2] === name ? cgroup.tryRead("hugetlb", file) : undefined;
    if (pageSize?.[1] === undefined || usage === undefined) return [];
    const most = cgroup.tryRead("hugetlb", `hugetlb.${pageSize[1]}.max_usage_in_bytes`);
    return [
      {
        pageSize: pageSize[1],
        usageBytes: Number(usage),
        maxUsageBytes: most === undefined ? undefined : Number(most),
      },
    ];
  });
}

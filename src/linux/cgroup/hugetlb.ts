// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";
import { exists } from "./files.ts";
import { type CgroupDirectories, type CgroupResources, checkLimit, type Setting } from "./resources.ts";

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

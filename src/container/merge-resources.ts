// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import {
  type HugepageLimit,
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
} from "../gen/runtime/v1/api_pb.ts";

/** `current` with everything that `change` sets; in a change 0 and nothing mean "as it is". */
export function mergeResources(
  current: LinuxContainerResources | undefined,
  change: LinuxContainerResources,
): LinuxContainerResources {
  const { hugepageLimits = [], unified = {}, ...before } = current ?? create(LinuxContainerResourcesSchema);
  return create(LinuxContainerResourcesSchema, {
    cpuPeriod: change.cpuPeriod || before.cpuPeriod,
    cpuQuota: change.cpuQuota || before.cpuQuota,
    cpuShares: change.cpuShares || before.cpuShares,
    memoryLimitInBytes: change.memoryLimitInBytes || before.memoryLimitInBytes,
    memorySwapLimitInBytes: change.memorySwapLimitInBytes || before.memorySwapLimitInBytes,
    oomScoreAdj: change.oomScoreAdj || before.oomScoreAdj,
    cpusetCpus: change.cpusetCpus || before.cpusetCpus,
    cpusetMems: change.cpusetMems || before.cpusetMems,
    hugepageLimits: mergePages(hugepageLimits, change.hugepageLimits),
    unified: { ...unified, ...change.unified },
  });
}

/** One limit for each size of page, the later one. */
function mergePages(current: readonly HugepageLimit[], change: readonly HugepageLimit[]): HugepageLimit[] {
  return [...new Map([...current, ...change].map((limit) => [limit.pageSize, limit])).values()];
}

/**
 * What of `merged` has to be written for `change` to be in force. Memory and swap go together: the limit
 * of both is that of memory where none was ever asked for.
 */
export function affectedBy(
  change: LinuxContainerResources,
  merged: LinuxContainerResources,
): LinuxContainerResources {
  const touchesMemory = change.memoryLimitInBytes !== 0n || change.memorySwapLimitInBytes !== 0n;
  if (!touchesMemory) return change;
  const { memoryLimitInBytes, memorySwapLimitInBytes } = merged;
  return create(LinuxContainerResourcesSchema, { ...change, memoryLimitInBytes, memorySwapLimitInBytes });
}

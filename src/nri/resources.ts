// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { LinuxResources, LinuxResourcesSchema } from "../gen/nri/v1alpha1/api_pb.ts";
import { type LinuxContainerResources, LinuxContainerResourcesSchema } from "../gen/runtime/v1/api_pb.ts";

/** The limits of the runtime interface as plugins are told them; what is not set is left out. */
export function nriResources(
  resources: LinuxContainerResources | undefined,
  pidsLimit?: number,
): MessageInitShape<typeof LinuxResourcesSchema> {
  const optional = <K extends string>(name: K, value: bigint | undefined) =>
    value === undefined || value === 0n ? {} : { [name]: { value } };
  return {
    memory: {
      ...optional("limit", resources?.memoryLimitInBytes),
      ...optional("swap", resources?.memorySwapLimitInBytes),
    },
    cpu: {
      ...optional("shares", resources?.cpuShares),
      ...optional("quota", resources?.cpuQuota),
      ...optional("period", resources?.cpuPeriod),
      cpus: resources?.cpusetCpus ?? "",
      mems: resources?.cpusetMems ?? "",
    },
    hugepageLimits: (resources?.hugepageLimits ?? []).map(({ pageSize, limit }) => ({ pageSize, limit })),
    unified: resources?.unified ?? {},
    ...(pidsLimit === undefined ? {} : { pids: { limit: BigInt(pidsLimit) } }),
  };
}

/** What a plugin sets, as the runtime interface says it: 0 and nothing mean "as it is". */
export function criResources({
  memory,
  cpu,
  hugepageLimits,
  unified,
}: LinuxResources): LinuxContainerResources {
  return create(LinuxContainerResourcesSchema, {
    memoryLimitInBytes: memory?.limit?.value ?? 0n,
    memorySwapLimitInBytes: memory?.swap?.value ?? 0n,
    cpuShares: cpu?.shares?.value ?? 0n,
    cpuQuota: cpu?.quota?.value ?? 0n,
    cpuPeriod: cpu?.period?.value ?? 0n,
    cpusetCpus: cpu?.cpus ?? "",
    cpusetMems: cpu?.mems ?? "",
    hugepageLimits: hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit })),
    unified,
  });
}

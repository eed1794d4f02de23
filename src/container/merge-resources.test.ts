// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type LinuxContainerResources, LinuxContainerResourcesSchema } from "../gen/runtime/v1/api_pb.ts";
import { affectedBy, mergeResources } from "./merge-resources.ts";

const resources = (init: MessageInitShape<typeof LinuxContainerResourcesSchema> = {}) =>
  create(LinuxContainerResourcesSchema, init);

const full = resources({
  cpuPeriod: 100_000n,
  cpuQuota: 50_000n,
  cpuShares: 512n,
  memoryLimitInBytes: 64n << 20n,
  memorySwapLimitInBytes: 96n << 20n,
  oomScoreAdj: 100n,
  cpusetCpus: "0-1",
  cpusetMems: "0",
  hugepageLimits: [{ pageSize: "2MB", limit: 4n }],
  unified: { "memory.high": "100" },
});

test("a change of nothing leaves everything, whatever there was", () => {
  expect(mergeResources(full, resources())).toEqual(full);
  expect(mergeResources(undefined, resources())).toEqual(resources());
  expect(mergeResources(undefined, full)).toEqual(full);
});

test("each field changes alone", () => {
  const changes: Partial<LinuxContainerResources>[] = [
    { cpuPeriod: 1n },
    { cpuQuota: -1n },
    { cpuShares: 2n },
    { memoryLimitInBytes: -1n },
    { memorySwapLimitInBytes: 5n },
    { oomScoreAdj: -5n },
    { cpusetCpus: "3" },
    { cpusetMems: "1" },
  ];
  for (const change of changes) {
    const merged = mergeResources(full, resources(change as object));
    expect(merged).toEqual(resources({ ...withoutName(full), ...change } as object));
  }
});

function withoutName({ $typeName: _, ...fields }: LinuxContainerResources): object {
  return fields;
}

test("limits of huge pages and files of cgroup v2 change one by one", () => {
  const change = resources({
    hugepageLimits: [
      { pageSize: "1GB", limit: 7n },
      { pageSize: "2MB", limit: 0n },
    ],
    unified: { "memory.high": "max", "memory.low": "5" },
  });
  const merged = mergeResources(full, change);
  expect(merged.hugepageLimits.map(({ pageSize, limit }) => [pageSize, limit])).toEqual([
    ["2MB", 0n],
    ["1GB", 7n],
  ]);
  expect(merged.unified).toEqual({ "memory.high": "max", "memory.low": "5" });
});

test("memory and swap are written together, other limits alone", () => {
  const memory = resources({ memoryLimitInBytes: 80n << 20n });
  expect(affectedBy(memory, mergeResources(full, memory))).toEqual(
    resources({ memoryLimitInBytes: 80n << 20n, memorySwapLimitInBytes: 96n << 20n }),
  );
  const swap = resources({ memorySwapLimitInBytes: 128n << 20n });
  expect(affectedBy(swap, mergeResources(full, swap))).toEqual(
    resources({ memoryLimitInBytes: 64n << 20n, memorySwapLimitInBytes: 128n << 20n }),
  );
  const cpu = resources({ cpuShares: 3n });
  expect(affectedBy(cpu, mergeResources(full, cpu))).toEqual(cpu);
});

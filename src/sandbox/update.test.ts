// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { LinuxContainerResourcesSchema } from "../gen/runtime/v1/api_pb.ts";
import { podLimits } from "./update.ts";

const resources = (init: MessageInitShape<typeof LinuxContainerResourcesSchema>) =>
  create(LinuxContainerResourcesSchema, init);

test("a pod's limits are its resources with the overhead on top", () => {
  const limits = podLimits({
    resources: resources({
      cpuShares: 1024n,
      cpuQuota: 50_000n,
      cpuPeriod: 50_000n,
      memoryLimitInBytes: 100n,
      cpusetCpus: "0",
    }),
    overhead: resources({ cpuShares: 100n, cpuQuota: 10_000n, memoryLimitInBytes: 7n, cpusetCpus: "1" }),
  });
  // The overhead's quota is one of 100 ms and counts half in a period of 50 ms.
  expect(limits).toEqual(
    resources({
      cpuShares: 1124n,
      cpuQuota: 55_000n,
      cpuPeriod: 50_000n,
      memoryLimitInBytes: 107n,
      cpusetCpus: "0",
    }),
  );
});

test("what has no limit gets none by an overhead", () => {
  const overhead = resources({ cpuQuota: 10_000n, memoryLimitInBytes: 7n });
  expect(podLimits({ resources: undefined, overhead })).toEqual(resources({}));
  expect(podLimits({ resources: resources({ cpuQuota: -1n, memoryLimitInBytes: -1n }), overhead })).toEqual(
    resources({ cpuQuota: -1n, memoryLimitInBytes: -1n }),
  );
  expect(podLimits({ resources: resources({ cpuShares: 5n }), overhead: undefined })).toEqual(
    resources({ cpuShares: 5n }),
  );
});

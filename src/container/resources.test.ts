// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { LinuxContainerResourcesSchema } from "../gen/runtime/v1/api_pb.ts";
import { runtimeResources } from "./resources.ts";

describe("the limits in a runtime's specification", () => {
  test("are none where none is set", () => {
    expect(runtimeResources(undefined)).toEqual({});
    expect(runtimeResources(create(LinuxContainerResourcesSchema, { oomScoreAdj: 5n }))).toEqual({});
  });

  test("have the names of the specification, and only what is set", () => {
    const resources = create(LinuxContainerResourcesSchema, {
      memoryLimitInBytes: 1000n,
      memorySwapLimitInBytes: 3000n,
      cpuQuota: -1n,
      cpusetMems: "0",
      hugepageLimits: [{ pageSize: "2MB", limit: 4194304n }],
      unified: { "memory.high": "900" },
    });
    expect(runtimeResources(resources)).toEqual({
      memory: { limit: 1000, swap: 3000 },
      cpu: { quota: -1, mems: "0" },
      hugepageLimits: [{ pageSize: "2MB", limit: 4194304 }],
      unified: { "memory.high": "900" },
    });
  });

  test("say that no swap goes with a memory limit alone, as the cgroup has it", () => {
    const resources = create(LinuxContainerResourcesSchema, { memoryLimitInBytes: 1000n });
    expect(runtimeResources(resources)).toEqual({ memory: { limit: 1000, swap: 1000 } });
  });
});

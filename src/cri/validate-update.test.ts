// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { check, verdict } from "../../test/fixtures/request-verdict.ts";
import {
  UpdateContainerResourcesRequestSchema,
  UpdatePodSandboxResourcesRequestSchema,
  UpdateRuntimeConfigRequestSchema,
} from "../gen/runtime/v1/api_pb.ts";

const id = "a".repeat(64);

function container(init: MessageInitShape<typeof UpdateContainerResourcesRequestSchema>) {
  const request = { containerId: id, ...init } as MessageInitShape<
    typeof UpdateContainerResourcesRequestSchema
  >;
  return verdict(UpdateContainerResourcesRequestSchema, request);
}

function pod(init: MessageInitShape<typeof UpdatePodSandboxResourcesRequestSchema>) {
  const request = { podSandboxId: id, ...init } as MessageInitShape<
    typeof UpdatePodSandboxResourcesRequestSchema
  >;
  return verdict(UpdatePodSandboxResourcesRequestSchema, request);
}

function podCidr(podCidr: string) {
  return verdict(UpdateRuntimeConfigRequestSchema, { runtimeConfig: { networkConfig: { podCidr } } });
}

check([
  ["an update of nothing", () => container({})],
  ["an update of limits", () => container({ linux: { cpuQuota: -1n, memoryLimitInBytes: 5n } })],
  [
    "an update of no container",
    () => container({ containerId: "" }),
    ["InvalidArgument", "container_id: must not be empty"],
  ],
  [
    "a period out of bounds",
    () => container({ linux: { cpuPeriod: 1n } }),
    ["InvalidArgument", "linux.cpu_period: "],
  ],
  [
    "swap below memory",
    () => container({ linux: { memoryLimitInBytes: 2n, memorySwapLimitInBytes: 1n } }),
    ["InvalidArgument", "linux.memory_swap_limit_in_bytes: "],
  ],
  [
    "a file of the cgroup's own",
    () => container({ linux: { unified: { "cgroup.procs": "1" } } }),
    ["InvalidArgument", "linux.unified: "],
  ],
  [
    "limits of Windows",
    () => container({ windows: {} }),
    ["Unimplemented", "windows: Windows containers are"],
  ],
  ["annotations", () => container({ annotations: { "example.com/a": "b" } })],
  [
    "annotations without a name",
    () => container({ annotations: { "": "b" } }),
    ["InvalidArgument", "annotations key: must not be empty"],
  ],
  [
    "annotations without a bound",
    () => container({ annotations: { a: "x".repeat(200_000), b: "x".repeat(200_000) } }),
    ["InvalidArgument", "annotations: must not exceed"],
  ],
  ["a pod's update of nothing", () => pod({})],
  ["a pod's update of both", () => pod({ overhead: { cpuShares: 1n }, resources: { cpuShares: 2n } })],
  [
    "an update of no pod",
    () => pod({ podSandboxId: "" }),
    ["InvalidArgument", "pod_sandbox_id: must not be empty"],
  ],
  [
    "an overhead out of bounds",
    () => pod({ overhead: { cpuQuota: 1n } }),
    ["InvalidArgument", "overhead.cpu_quota: "],
  ],
  [
    "resources out of bounds",
    () => pod({ resources: { cpusetCpus: "a" } }),
    ["InvalidArgument", "resources.cpuset_cpus: "],
  ],
  ["no runtime configuration", () => verdict(UpdateRuntimeConfigRequestSchema, {})],
  ["no subnet", () => podCidr("")],
  ["one subnet", () => podCidr("10.244.1.0/24")],
  ["one subnet of each family", () => podCidr("10.244.1.0/24, fd00:10:244::/64")],
  [
    "no subnet at all",
    () => podCidr("10.244.1.0"),
    ["InvalidArgument", "runtime_config.network_config.pod_cidr: must be subnets"],
  ],
  [
    "an empty subnet among others",
    () => podCidr("10.244.1.0/24,"),
    [
      "InvalidArgument",
      "runtime_config.network_config.pod_cidr: must be subnets as in 10.244.1.0/24 with commas",
    ],
  ],
  [
    "too many subnets",
    () => podCidr(Array(17).fill("10.0.0.0/8").join(",")),
    ["InvalidArgument", "runtime_config.network_config.pod_cidr: must not have more than 16 subnets"],
  ],
]);

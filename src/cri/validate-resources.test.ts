// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import { check, resources } from "../../test/fixtures/request-verdict.ts";

const limits = "config.linux.resources";

describe("resources", () => {
  check([
    [
      "within their bounds are accepted",
      () =>
        resources({
          cpuPeriod: 100_000n,
          cpuQuota: 50_000n,
          cpuShares: 1024n,
          memoryLimitInBytes: 1n << 30n,
          memorySwapLimitInBytes: 1n << 30n,
          oomScoreAdj: -998n,
          cpusetCpus: "0-3,7",
          cpusetMems: "0",
          hugepageLimits: [{ pageSize: "2MB", limit: 0n }],
          unified: { "memory.high": "max", "hugetlb.2MB.max": "0" },
        }),
    ],
    ["may be unlimited", () => resources({ cpuQuota: -1n, memoryLimitInBytes: -1n })],
    [
      "may not have a period of a second and more",
      () => resources({ cpuPeriod: 1_000_001n }),
      ["InvalidArgument", `${limits}.cpu_period: must be between 1000 and 1000000`],
    ],
    [
      "may not have a quota below the kernel's",
      () => resources({ cpuQuota: 999n }),
      ["InvalidArgument", `${limits}.cpu_quota: must be -1 (no limit) or at least 1000, but is 999`],
    ],
    [
      "may not have negative shares",
      () => resources({ cpuShares: -1n }),
      ["InvalidArgument", `${limits}.cpu_shares: must be between 0 and 262144`],
    ],
    [
      "may not have negative memory",
      () => resources({ memoryLimitInBytes: -2n }),
      ["InvalidArgument", `${limits}.memory_limit_in_bytes: must be -1`],
    ],
    [
      "may not have less swap and memory than memory",
      () => resources({ memoryLimitInBytes: 100n, memorySwapLimitInBytes: 99n }),
      ["InvalidArgument", `${limits}.memory_swap_limit_in_bytes: must not be below memory_limit_in_bytes`],
    ],
    [
      "may not have an OOM score beyond the kernel's",
      () => resources({ oomScoreAdj: 1001n }),
      ["InvalidArgument", `${limits}.oom_score_adj: must be between -1000 and 1000`],
    ],
    [
      "may not have CPUs that are no list",
      () => resources({ cpusetCpus: "0-" }),
      ["InvalidArgument", `${limits}.cpuset_cpus: must be a list`],
    ],
    [
      "may not have a page size without unit",
      () => resources({ hugepageLimits: [{ pageSize: "2" }] }),
      ["InvalidArgument", `${limits}.hugepage_limits[0].page_size: must look like 2MB`],
    ],
    [
      "may not write files of the cgroup core",
      () => resources({ unified: { "cgroup.procs": "1" } }),
      ["InvalidArgument", `${limits}.unified: "cgroup.procs" is no file of a cgroup controller`],
    ],
    [
      "may not write files elsewhere",
      () => resources({ unified: { "../memory.max": "1" } }),
      ["InvalidArgument", `${limits}.unified: "../memory.max" is no file of a cgroup controller`],
    ],
  ]);
});

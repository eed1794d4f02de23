// SPDX-License-Identifier: Apache-2.0
import type { LinuxContainerResources } from "../gen/runtime/v1/api_pb.ts";
import { checkInteger, checkPrintable, invalid, shown } from "./validate-fields.ts";

/** Bounds of the kernel's CPU bandwidth controller in microseconds (Documentation/scheduler/sched-bwc). */
const MIN_CPU_PERIOD_US = 1000;
const MAX_CPU_PERIOD_US = 1_000_000;
const MIN_CPU_QUOTA_US = 1000n;
/** MAX_SHARES (kernel/sched/sched.h). */
const MAX_CPU_SHARES = 262_144;
const MAX_CPU_LIST_BYTES = 4096;
const MAX_UNIFIED_ENTRIES = 256;
const MAX_UNIFIED_VALUE_BYTES = 4095;

/** Checks resource limits, of which 0 or nothing always means "not set". */
export function checkResources(path: string, resources: LinuxContainerResources): void {
  const { cpuPeriod, cpuQuota, memoryLimitInBytes, memorySwapLimitInBytes } = resources;
  if (cpuPeriod !== 0n) checkInteger(`${path}.cpu_period`, cpuPeriod, MIN_CPU_PERIOD_US, MAX_CPU_PERIOD_US);
  if (cpuQuota !== 0n && cpuQuota !== -1n && cpuQuota < MIN_CPU_QUOTA_US) {
    invalid(`${path}.cpu_quota`, `must be -1 (no limit) or at least ${MIN_CPU_QUOTA_US}, but is ${cpuQuota}`);
  }
  checkInteger(`${path}.cpu_shares`, resources.cpuShares, 0, MAX_CPU_SHARES);
  checkLimit(`${path}.memory_limit_in_bytes`, memoryLimitInBytes);
  checkLimit(`${path}.memory_swap_limit_in_bytes`, memorySwapLimitInBytes);
  if (memorySwapLimitInBytes > 0n && memorySwapLimitInBytes < memoryLimitInBytes) {
    invalid(
      `${path}.memory_swap_limit_in_bytes`,
      "must not be below memory_limit_in_bytes, which it includes",
    );
  }
  checkInteger(`${path}.oom_score_adj`, resources.oomScoreAdj, -1000, 1000);
  checkCpuList(`${path}.cpuset_cpus`, resources.cpusetCpus);
  checkCpuList(`${path}.cpuset_mems`, resources.cpusetMems);
  for (const [index, { pageSize }] of resources.hugepageLimits.entries()) {
    if (!/^[1-9]\d{0,9}(B|[KMGT]i?B)$/.test(pageSize)) {
      invalid(
        `${path}.hugepage_limits[${index}].page_size`,
        `must look like 2MB or 1GB, but is ${shown(pageSize)}`,
      );
    }
  }
  checkUnified(`${path}.unified`, resources.unified);
}

function checkLimit(path: string, value: bigint): void {
  if (value < -1n) invalid(path, `must be -1 (no limit) or a number of bytes, but is ${value}`);
}

function checkCpuList(path: string, list: string): void {
  if (list === "") return;
  if (list.length > MAX_CPU_LIST_BYTES) invalid(path, `must not exceed ${MAX_CPU_LIST_BYTES} bytes`);
  if (!/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/.test(list)) {
    invalid(path, `must be a list as in 0-3,7, but is ${shown(list)}`);
  }
}

/** Names of controller files that the caller writes verbatim; those of the cgroup core would move processes. */
function checkUnified(path: string, unified: Record<string, string>): void {
  const entries = Object.entries(unified);
  if (entries.length > MAX_UNIFIED_ENTRIES)
    invalid(path, `must not have more than ${MAX_UNIFIED_ENTRIES} entries`);
  for (const [name, value] of entries) {
    if (!/^[a-z]+(\.[A-Za-z0-9_]+)+$/.test(name) || name.startsWith("cgroup.")) {
      invalid(path, `${shown(name)} is no file of a cgroup controller, as memory.high is`);
    }
    checkPrintable(`${path}[${name}]`, value);
    if (Buffer.byteLength(value) > MAX_UNIFIED_VALUE_BYTES) {
      invalid(`${path}[${name}]`, `must not exceed ${MAX_UNIFIED_VALUE_BYTES} bytes`);
    }
  }
}

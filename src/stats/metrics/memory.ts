// SPDX-License-Identifier: Apache-2.0
import { familiesOf, type Sample } from "./family.ts";
import { type ContainerReadings, detail } from "./readings.ts";

const { counter, gauge } = familiesOf<ContainerReadings>("memory");
const hugetlb = familiesOf<ContainerReadings>("hugetlb");

export const memoryFamilies = [
  gauge(
    "memory_usage_bytes",
    "Memory in use, whenever it was last touched",
    detail(({ memory }) => memory?.usageBytes),
  ),
  gauge(
    "memory_working_set_bytes",
    "Memory in use that cannot be reclaimed at once",
    detail(({ memory }) => memory?.workingSetBytes),
  ),
  gauge(
    "memory_rss",
    "Anonymous memory in bytes",
    detail(({ memory }) => memory?.rssBytes),
  ),
  gauge(
    "memory_cache",
    "Page cache in bytes",
    detail(({ memory }) => memory?.cacheBytes),
  ),
  gauge(
    "memory_swap",
    "Swap in use, in bytes",
    detail(({ memory }) => memory?.swapBytes),
  ),
  gauge(
    "memory_mapped_file",
    "Mapped files in memory, in bytes",
    detail(({ memory }) => memory?.mappedFileBytes),
  ),
  gauge(
    "memory_kernel_usage",
    "Memory that the kernel uses for the container, in bytes",
    detail(({ memory }) => memory?.kernelBytes),
  ),
  gauge(
    "memory_max_usage_bytes",
    "The most memory that was ever in use",
    detail(({ memory }) => memory?.maxUsageBytes),
  ),
  counter(
    "memory_failcnt",
    "How often the memory limit was met",
    detail(({ memory }) => memory?.limitHits),
  ),
  counter(
    "memory_failures_total",
    "Page faults (pgfault), and those of them that had to read (pgmajfault)",
    pageFaults,
    ["failure_type", "scope"],
  ),
  counter(
    "oom_events_total",
    "Processes that the kernel killed for want of memory",
    detail(({ memory }) => memory?.oomKills),
  ),
  gauge(
    "spec_memory_limit_bytes",
    "Memory limit, 0 for none",
    detail(({ memory }) => memory && (memory.limitBytes ?? 0)),
  ),
  gauge(
    "spec_memory_swap_limit_bytes",
    "Limit of memory and swap together, 0 for none",
    detail(({ memory }) => memory && sumOf(memory.limitBytes, memory.swapLimitBytes)),
  ),
  gauge(
    "spec_memory_reservation_limit_bytes",
    "Memory that is spared under pressure; absent when none is reserved",
    detail(({ memory }) => memory?.reservationBytes),
  ),
  hugetlb.gauge(
    "hugetlb_usage_bytes",
    "Huge pages in use, in bytes",
    ({ cgroup: { value, atNs } }) =>
      value.hugetlb.map(({ pageSize, usageBytes }) => ({ value: usageBytes, labels: [pageSize], atNs })),
    ["pagesize"],
  ),
  hugetlb.gauge(
    "hugetlb_max_usage_bytes",
    "The most huge pages that were ever in use, in bytes; counted on cgroup v1 only",
    ({ cgroup: { value, atNs } }) =>
      value.hugetlb.map(({ pageSize, maxUsageBytes }) => ({
        value: maxUsageBytes,
        labels: [pageSize],
        atNs,
      })),
    ["pagesize"],
  ),
];

function sumOf(limitBytes: number | undefined, swapLimitBytes: number | undefined): number {
  return limitBytes === undefined || swapLimitBytes === undefined ? 0 : limitBytes + swapLimitBytes;
}

function pageFaults({ cgroup: { value, atNs } }: ContainerReadings): readonly Sample[] {
  const { memory } = value;
  return [
    { value: memory?.ownPageFaults, labels: ["pgfault", "container"], atNs },
    { value: memory?.ownMajorPageFaults, labels: ["pgmajfault", "container"], atNs },
    { value: memory?.pageFaults, labels: ["pgfault", "hierarchy"], atNs },
    { value: memory?.majorPageFaults, labels: ["pgmajfault", "hierarchy"], atNs },
  ];
}

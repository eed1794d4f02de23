// SPDX-License-Identifier: Apache-2.0
import { familiesOf } from "./family.ts";
import { type ContainerReadings, detail, seconds } from "./readings.ts";

const accounting = familiesOf<ContainerReadings>("cpuacct");
const control = familiesOf<ContainerReadings>("cpu");

export const cpuFamilies = [
  accounting.counter(
    "cpu_usage_seconds_total",
    "CPU time used, in seconds",
    ({ cgroup }) => [{ value: seconds(cgroup.value.cpu.usageNs), labels: ["total"], atNs: cgroup.atNs }],
    ["cpu"],
  ),
  accounting.counter(
    "cpu_user_seconds_total",
    "CPU time used in user mode, in seconds",
    detail(({ cpu }) => seconds(cpu.userNs)),
  ),
  accounting.counter(
    "cpu_system_seconds_total",
    "CPU time used in the kernel, in seconds",
    detail(({ cpu }) => seconds(cpu.systemNs)),
  ),
  control.counter(
    "cpu_cfs_periods_total",
    "Periods of the CPU quota in which something ran",
    detail(({ cpu }) => cpu.bandwidth?.periods),
  ),
  control.counter(
    "cpu_cfs_throttled_periods_total",
    "Periods in which the CPU quota was used up",
    detail(({ cpu }) => cpu.bandwidth?.throttledPeriods),
  ),
  control.counter(
    "cpu_cfs_throttled_seconds_total",
    "Time spent waiting for more CPU quota, in seconds",
    detail(({ cpu }) => seconds(cpu.bandwidth?.throttledNs)),
  ),
  control.gauge(
    "spec_cpu_period",
    "Period of the CPU quota, in microseconds",
    detail(({ cpu }) => cpu.bandwidth?.periodUs),
  ),
  control.gauge(
    "spec_cpu_quota",
    "CPU time allowed in each period, in microseconds; absent when there is no limit",
    detail(({ cpu }) => cpu.bandwidth?.quotaUs),
  ),
  control.gauge(
    "spec_cpu_shares",
    "Relative CPU weight; the usual one is 1024",
    detail(({ cpu }) => cpu.bandwidth?.shares),
  ),
];

// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import type { Metric, PodSandboxMetrics } from "../../src/gen/runtime/v1/api_pb.ts";
import { cgroupDirectory, cgroupRow, cgroupText, cpuUsageNs, isV2 } from "./harness/cgroup-files.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid, pausePid, runContainer, runSandbox, secured, shellIn } from "./harness/pods.ts";
import { procText } from "./harness/proc.ts";

const fixture = useDaemon();
const mebibyte = 1024n * 1024n;

/** Every pod with a sample of each is what the validation suite of the interface asks for. */
const REQUIRED = [
  "cpu_usage_seconds_total cpu_user_seconds_total cpu_system_seconds_total cpu_cfs_periods_total",
  "cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total",
  "memory_usage_bytes memory_working_set_bytes memory_rss memory_cache memory_swap memory_mapped_file",
  "memory_kernel_usage memory_max_usage_bytes memory_failcnt memory_failures_total oom_events_total",
  "fs_usage_bytes fs_limit_bytes fs_inodes_free fs_inodes_total",
  "network_receive_bytes_total network_receive_packets_total network_receive_errors_total",
  "network_receive_packets_dropped_total network_transmit_bytes_total network_transmit_packets_total",
  "network_transmit_errors_total network_transmit_packets_dropped_total",
  "processes threads threads_max sockets file_descriptors start_time_seconds last_seen",
  "spec_cpu_period spec_cpu_shares spec_memory_limit_bytes spec_memory_swap_limit_bytes",
].flatMap((line) => line.split(" "));
/** These are described, but have samples only where there is something to count. */
const OPTIONAL = [
  "fs_reads_total fs_reads_bytes_total fs_writes_total fs_writes_bytes_total blkio_device_usage_total",
  "ulimits_soft spec_cpu_quota spec_memory_reservation_limit_bytes hugetlb_usage_bytes hugetlb_max_usage_bytes",
].flatMap((line) => line.split(" "));

async function metricsOf(sandboxId: string): Promise<PodSandboxMetrics> {
  const { podMetrics } = await fixture.daemon.api.listPodSandboxMetrics({});
  const found = podMetrics.find(({ podSandboxId }) => podSandboxId === sandboxId);
  if (found === undefined) throw new Error(`there are no metrics of sandbox ${sandboxId}`);
  return found;
}

/** The value of a sample by its name and the values of its labels beyond the common five. */
function sampleValue(metrics: readonly Metric[], name: string, ...labels: string[]): bigint | undefined {
  const found = metrics.filter(
    (metric) => metric.name === `container_${name}` && metric.labelValues.slice(5).join() === labels.join(),
  );
  expect(found.length, name).toBeLessThanOrEqual(1);
  return found[0]?.value?.value;
}

/** A pod like the validation suite's: one container with limits that has written some files. */
async function runMeasured(name: string, command: readonly string[]) {
  const { daemon } = fixture;
  const sandboxId = await runSandbox(daemon, name);
  const resources = {
    cpuPeriod: 100_000n,
    cpuQuota: 20_000n,
    cpuShares: 512n,
    memoryLimitInBytes: 64n * mebibyte,
    memorySwapLimitInBytes: 64n * mebibyte,
  };
  const linux = { ...secured({}).linux, resources };
  const id = await runContainer(daemon, sandboxId, { name: "app", command: [...command], linux } as never);
  return { sandboxId, id, pid: await containerPid(daemon, id) };
}

test("every metric that is described has samples, with a value for each label", async () => {
  const { daemon } = fixture;
  const { descriptors } = await daemon.api.listMetricDescriptors({});
  const { sandboxId, id } = await runMeasured("described", ["sleep", "3600"]);
  await shellIn(
    daemon,
    id,
    "mkdir -p /var/lib/x; for i in $(seq 1 10); do echo hi >> /var/lib/x/$i; done; sync",
  );
  expect((await daemon.api.listMetricDescriptors({})).descriptors).toEqual(descriptors);
  const { metrics, containerMetrics } = await metricsOf(sandboxId);
  expect(containerMetrics.map(({ containerId }) => containerId)).toEqual([id]);
  const all = [...metrics, ...containerMetrics.flatMap((container) => container.metrics)];
  const sampled = new Set(all.map((metric) => metric.name));
  const described = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  for (const { help, labelKeys } of descriptors) {
    expect(help).not.toBe("");
    expect(labelKeys.slice(0, 5)).toEqual(["namespace", "pod", "container", "id", "image"]);
  }
  const names = (list: readonly string[]) => list.map((name) => `container_${name}`);
  expect(names(REQUIRED).filter((name) => !described.has(name) || !sampled.has(name))).toEqual([]);
  const optional = new Set(names(OPTIONAL));
  expect([...described.keys()].filter((name) => !sampled.has(name) && !optional.has(name))).toEqual([]);
  expect(all.filter(({ name, labelValues }) => described.get(name)?.length !== labelValues.length)).toEqual(
    [],
  );
  const keys = all.map(({ name, labelValues }) => JSON.stringify([name, labelValues]));
  expect(new Set(keys).size).toBe(keys.length);
  const hasPressure = procText("/proc/pressure/cpu") !== "";
  expect(described.has("container_pressure_cpu_waiting_seconds_total")).toBe(hasPressure);
});

test("samples say what the kernel says", async () => {
  const { daemon } = fixture;
  const { sandboxId, id, pid } = await runMeasured("measured", [
    "sh",
    "-c",
    "sleep 3600 | nc -l -p 9000 & while :; do :; done",
  ]);
  await eventually("the port is open", () =>
    ["tcp", "tcp6"].some((name) => procText(`/proc/${pid}/net/${name}`).includes(":2328 ")),
  );
  const throttled = () => cgroupRow(pid, "cpu", "cpu.stat nr_throttled", "cpu.stat nr_throttled");
  await eventually("the quota was used up", () => throttled() > 5n);
  await eventually("more than a second was used", () => cpuUsageNs(pid) > 1_100_000_000n, 30_000);
  const [throttledBefore, cpuBefore] = [throttled(), cpuUsageNs(pid)];
  const before = Date.now();
  const { metrics, containerMetrics } = await metricsOf(sandboxId);
  const of = (name: string, ...labels: string[]) =>
    sampleValue(containerMetrics[0]?.metrics ?? [], name, ...labels);
  expect(of("cpu_usage_seconds_total", "total")).toBeGreaterThanOrEqual(cpuBefore / 1_000_000_000n);
  expect(of("cpu_usage_seconds_total", "total")).toBeLessThanOrEqual(cpuUsageNs(pid) / 1_000_000_000n);
  expect(of("cpu_cfs_throttled_periods_total")).toBeGreaterThanOrEqual(throttledBefore);
  expect(of("cpu_cfs_throttled_periods_total")).toBeLessThanOrEqual(throttled());
  expect(of("spec_cpu_period")).toBe(100_000n);
  expect(of("spec_cpu_quota")).toBe(20_000n);
  const shares = isV2 ? 521n : 512n;
  expect(of("spec_cpu_shares")).toBe(shares);
  expect(of("spec_memory_limit_bytes")).toBe(64n * mebibyte);
  expect(of("spec_memory_swap_limit_bytes")).toBe(64n * mebibyte);
  expect(of("memory_max_usage_bytes")).toBe(
    BigInt(cgroupText(pid, "memory", "memory.max_usage_in_bytes", "memory.peak")),
  );
  // The shell, its pipe's two ends.
  expect(of("processes")).toBe(3n);
  expect(of("threads")).toBe(BigInt(cgroupText(pid, "pids", "pids.current", "pids.current")));
  expect(of("threads_max")).toBe(4096n);
  const pids = procText(`${cgroupDirectory(pid, "pids")}/cgroup.procs`)
    .trim()
    .split("\n");
  const targets = pids.flatMap((one) =>
    readdirSync(`/proc/${one}/fd`).map((fd) => readlinkSync(`/proc/${one}/fd/${fd}`)),
  );
  expect(of("file_descriptors")).toBe(BigInt(targets.length));
  expect(of("sockets")).toBe(BigInt(targets.filter((target) => target.startsWith("socket:")).length));
  expect(of("sockets")).toBe(1n);
  const limit = /^Max open files +(\d+)/m.exec(procText(`/proc/${pid}/limits`))?.[1];
  expect(of("ulimits_soft", "max_open_files")).toBe(BigInt(limit ?? 0));
  const { status } = await daemon.api.containerStatus({ containerId: id });
  expect(of("start_time_seconds")).toBe((status?.startedAt ?? 0n) / 1_000_000_000n);
  expect(Number(of("last_seen"))).toBeGreaterThanOrEqual(Math.floor(before / 1000));
  const dev = procText(`/proc/${await pausePid(daemon, sandboxId)}/net/dev`);
  const [received] = /eth0: *(\d+)/.exec(dev)?.slice(1).map(BigInt) ?? [];
  expect(sampleValue(metrics, "network_receive_bytes_total", "eth0")).toBeLessThanOrEqual(received as bigint);
  expect(sampleValue(metrics, "network_receive_bytes_total", "lo")).toBeUndefined();
});

test("a process killed for want of memory is counted", async () => {
  const { daemon } = fixture;
  const { sandboxId, id, pid } = await runMeasured("starved", ["sleep", "3600"]);
  const of = async (name: string) => {
    const [container] = (await metricsOf(sandboxId)).containerMetrics;
    return sampleValue(container?.metrics ?? [], name) as bigint;
  };
  expect(await of("oom_events_total")).toBe(0n);
  await daemon.api.execSync({ containerId: id, cmd: ["tail", "/dev/zero"], timeout: 30n });
  await eventually("the kill is counted", async () => (await of("oom_events_total")) === 1n);
  // Newer kernels do not count on v1 how often the limit of memory and swap together was met.
  const hits = isV2
    ? cgroupRow(pid, "memory", "", "memory.events max")
    : BigInt(cgroupText(pid, "memory", "memory.failcnt", "")) +
      BigInt(cgroupText(pid, "memory", "memory.memsw.failcnt", ""));
  expect(await of("memory_failcnt")).toBe(hits);
  expect(await of("memory_max_usage_bytes")).toBeGreaterThan(60n * mebibyte);
  expect(cgroupRow(pid, "memory", "memory.oom_control oom_kill", "memory.events oom_kill")).toBe(1n);
});

test("what a container writes past the cache is counted where the kernel counts it", async () => {
  const { daemon } = fixture;
  const { sandboxId, id, pid } = await runMeasured("on-disk", ["sleep", "3600"]);
  await shellIn(daemon, id, "dd if=/dev/zero of=/direct bs=1M count=3 oflag=direct; sync");
  // cgroup v1 counts only on devices whose scheduler, or a limit, wants it to.
  const kernel = () => {
    const text = cgroupText(
      pid,
      isV2 ? "io" : "blkio",
      "blkio.throttle.io_service_bytes_recursive",
      "io.stat",
    );
    // A device that is gone is `(unknown)`, and nobody's.
    const written = [...text.matchAll(isV2 ? /^\d+:\d+ .* wbytes=(\d+)/gm : /^\d+:\d+ Write (\d+)$/gm)];
    return written.reduce((sum, match) => sum + BigInt(match[1] ?? 0), 0n);
  };
  await eventually("both agree", async () => {
    const before = kernel();
    const [container] = (await metricsOf(sandboxId)).containerMetrics;
    const found = container?.metrics.filter(({ name }) => name === "container_fs_writes_bytes_total") ?? [];
    for (const { labelValues } of found) expect(labelValues.at(-1)).toMatch(/^(\/dev\/.+|\d+:\d+)$/);
    return found.reduce((sum, { value }) => sum + (value?.value ?? 0n), 0n) === before && before === kernel();
  });
  if (isV2) expect(kernel()).toBeGreaterThanOrEqual(3n * mebibyte);
});

test("streams have the same pods as lists", async () => {
  const { daemon } = fixture;
  await runSandbox(daemon, "streamed");
  const streamed: string[] = [];
  for await (const reply of daemon.api.streamPodSandboxMetrics({})) {
    streamed.push(...reply.podSandboxMetrics.map(({ podSandboxId }) => podSandboxId));
  }
  const { podMetrics } = await daemon.api.listPodSandboxMetrics({});
  expect(streamed).toEqual(podMetrics.map(({ podSandboxId }) => podSandboxId));
  expect(streamed.length).toBeGreaterThan(0);
});

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("stats, stats -a and statsp", async () => {
    const { daemon } = fixture;
    const { sandboxId, id } = await runMeasured("shown", ["sh", "-c", "while :; do :; done"]);
    const ended = await runContainer(daemon, sandboxId, { name: "ended", command: ["true"] });
    const table = await daemon.crictl("stats", "--pod", sandboxId);
    expect(table).toMatch(/CONTAINER\s+NAME\s+CPU %\s+MEM\s+DISK\s+INODES\s+SWAP/);
    const row = new RegExp(`${id.slice(0, 13)}\\s+app\\s+([\\d.]+)\\s+\\S+B\\s+\\S+B\\s+\\d+\\s+0B`).exec(
      table,
    );
    expect(Number(row?.[1])).toBeGreaterThan(1);
    expect(Number(row?.[1])).toBeLessThan(40);
    expect(table).not.toContain(ended.slice(0, 13));
    expect(await daemon.crictl("stats", "-a", "--pod", sandboxId)).toContain(ended.slice(0, 13));
    const { stats } = JSON.parse(await daemon.crictl("stats", "-o", "json", id)) as {
      stats: { attributes: { id: string }; memory: { workingSetBytes: { value: string } } }[];
    };
    expect(stats.map(({ attributes }) => attributes.id)).toEqual([id]);
    expect(Number(stats[0]?.memory.workingSetBytes.value)).toBeGreaterThan(0);
    // The shortest window that crictl knows.
    expect((await daemon.crictlResult("stats", "--seconds", "0", id)).code).toBe(0);
    const pods = await daemon.crictl("statsp", "--id", sandboxId);
    expect(pods).toMatch(new RegExp(`shown\\s+${sandboxId.slice(0, 13)}\\s+\\d`));
    expect((await daemon.crictlResult("stats", "--id", "feedfacefeedface")).code).toBe(0);
  });

  test("metricdescs and metricsp", async () => {
    const { daemon } = fixture;
    const sandboxId = await runSandbox(daemon, "printed");
    const { descriptors } = JSON.parse(await daemon.crictl("metricdescs")) as {
      descriptors: { name: string }[];
    };
    expect(descriptors.map(({ name }) => name)).toContain("container_memory_working_set_bytes");
    const { podMetrics } = JSON.parse(await daemon.crictl("metricsp")) as {
      podMetrics: { podSandboxId: string; metrics: { name: string; metricType: string }[] }[];
    };
    const found = podMetrics.find((pod) => pod.podSandboxId === sandboxId);
    expect(found?.metrics).toContainEqual(
      expect.objectContaining({ name: "container_network_receive_bytes_total", metricType: "COUNTER" }),
    );
  });
});

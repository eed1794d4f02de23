// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statsRuntime } from "../../test/fixtures/stats-runtime.ts";
import { type Metric, MetricType } from "../gen/runtime/v1/api_pb.ts";
import type { CgroupHost } from "../linux/cgroup/host.ts";
import { openCatalogue } from "./metrics/catalogue.ts";
import { openStats } from "./stats.ts";

// A machine of plain folders with the files of cgroup v2.

const FILES = {
  "cpu.stat":
    "usage_usec 7900000\nuser_usec 5900000\nsystem_usec 2000000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1999999",
  "cpu.weight": "100",
  "cpu.max": "20000 100000",
  "memory.current": "5000000",
  "memory.max": "8000000",
  "memory.low": "4096",
  "memory.peak": "6000000",
  "memory.swap.current": "8192",
  "memory.swap.max": "1000",
  "memory.stat":
    "anon 3000000\nfile 2000000\nkernel 40960\nfile_mapped 500\ninactive_file 1500000\npgfault 77\npgmajfault 3",
  "memory.events": "max 6\noom 4\noom_kill 3",
  "pids.current": "12",
  "pids.max": "100",
  "io.stat": "999:1 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0",
  "hugetlb.2MB.current": "4194304",
  "cpu.pressure":
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=3999999\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0",
  "memory.pressure":
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2000000",
  "io.pressure":
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0",
  "cgroup.procs": `${process.pid}`,
};

/** What a machine with every controller describes, and gives samples of for each running container. */
const OF_CONTAINERS = [
  "cpu_usage_seconds_total cpu_user_seconds_total cpu_system_seconds_total cpu_cfs_periods_total",
  "cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total",
  "memory_usage_bytes memory_working_set_bytes memory_rss memory_cache memory_swap memory_mapped_file",
  "memory_kernel_usage memory_max_usage_bytes memory_failcnt memory_failures_total oom_events_total",
  "fs_usage_bytes fs_limit_bytes fs_inodes_free fs_inodes_total fs_reads_total fs_reads_bytes_total",
  "fs_writes_total fs_writes_bytes_total blkio_device_usage_total",
  "processes threads threads_max sockets file_descriptors ulimits_soft start_time_seconds last_seen",
  "spec_cpu_period spec_cpu_shares spec_cpu_quota spec_memory_limit_bytes spec_memory_swap_limit_bytes",
  "spec_memory_reservation_limit_bytes hugetlb_usage_bytes",
  "pressure_cpu_waiting_seconds_total pressure_cpu_stalled_seconds_total",
  "pressure_memory_waiting_seconds_total pressure_memory_stalled_seconds_total",
  "pressure_io_waiting_seconds_total pressure_io_stalled_seconds_total",
].flatMap((line) => line.split(" ").map((name) => `container_${name}`));

const OF_PODS = ["receive", "transmit"].flatMap((direction) =>
  ["bytes_total", "packets_total", "errors_total", "packets_dropped_total"].map(
    (name) => `container_network_${direction}_${name}`,
  ),
);

let root: string;
let host: CgroupHost;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-metrics-"));
  const controllers = ["cpu", "io", "memory", "pids", "hugetlb"];
  host = { version: "v2", controllers, hierarchies: [], unified: root };
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function metricsOfPod() {
  const fixture = statsRuntime(host, root);
  const sandbox = fixture.addSandbox("aa", "/aa");
  const container = fixture.addContainer("ca", sandbox);
  fixture.addContainer("cb", sandbox, { finishedAtNs: "6" });
  mkdirSync(join(root, "aa/ca"), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(root, "aa/ca", name), `${text}\n`);
  cpSync(join(root, "aa/ca"), join(root, "aa/pause"), { recursive: true });
  const stats = openStats(fixture.runtime);
  const [first] = await Array.fromAsync(stats.metrics([sandbox], new AbortController().signal));
  if (first === undefined) throw new Error("the pod has no metrics");
  const [again] = await Array.fromAsync(stats.metrics([sandbox], new AbortController().signal));
  return { stats, sandbox, container, first, again };
}

const keysOf = (stats: { metricDescriptors: readonly { name?: string; labelKeys?: string[] }[] }) =>
  new Map(stats.metricDescriptors.map(({ name, labelKeys }) => [name, labelKeys ?? []]));

test("every metric that is described has samples with a value for each label, and no other has", async () => {
  const { stats, sandbox, container, first } = await metricsOfPod();
  expect(first.podSandboxId).toBe(sandbox.id);
  expect(first.containerMetrics.map(({ containerId }) => containerId)).toEqual([container.id]);
  const ofContainer = first.containerMetrics[0]?.metrics ?? [];
  const keys = keysOf(stats);
  const described = openCatalogue(host, true).descriptors.map(({ name }) => name);
  const expected = [...OF_CONTAINERS, ...OF_PODS, "container_hugetlb_max_usage_bytes"];
  expect(described.toSorted()).toEqual(expected.sort());
  for (const { name, labelValues, value } of [...first.metrics, ...ofContainer]) {
    expect(labelValues.length, name).toBe(keys.get(name)?.length as number);
    expect(value, name).toBeDefined();
  }
  const hasPressure = keys.has("container_pressure_io_stalled_seconds_total");
  const names = OF_CONTAINERS.filter((name) => hasPressure || !name.includes("_pressure_"));
  expect([...new Set(ofContainer.map(({ name }) => name))].toSorted()).toEqual(names.toSorted());
  expect(new Set(first.metrics.map(({ name }) => name)).isSubsetOf(new Set(OF_PODS))).toBe(true);
  for (const { help, labelKeys } of stats.metricDescriptors) {
    expect(help).not.toBe("");
    expect(labelKeys?.slice(0, 5)).toEqual(["namespace", "pod", "container", "id", "image"]);
  }
});

test("no two samples have the same name and labels", async () => {
  const { first } = await metricsOfPod();
  const all = [...first.metrics, ...first.containerMetrics.flatMap(({ metrics }) => metrics)];
  const keys = all.map(({ name, labelValues }) => JSON.stringify([name, labelValues]));
  expect(new Set(keys).size).toBe(keys.length);
});

test("values are whole, of their type, and what the files say", async () => {
  const { stats, container, first } = await metricsOfPod();
  const keys = keysOf(stats);
  const metrics = first.containerMetrics[0]?.metrics ?? [];
  /** The sample of this name whose labels beyond the common ones are these. */
  const sample = (name: string, ...labels: string[]): Metric => {
    const found = metrics.find(
      (metric) => metric.name === `container_${name}` && metric.labelValues.slice(5).join() === labels.join(),
    );
    if (found === undefined) throw new Error(`no ${name} ${labels}: ${[...keys.keys()]}`);
    return found;
  };
  const value = (name: string, ...labels: string[]) => sample(name, ...labels).value?.value;
  expect(sample("cpu_usage_seconds_total", "total")).toMatchObject({
    metricType: MetricType.COUNTER,
    timestamp: 0n,
    labelValues: ["default", "pod-aa", "app-ca", container.id, "docker.io/library/nginx:1", "total"],
    value: { value: 7n },
  });
  expect(sample("memory_rss").metricType).toBe(MetricType.GAUGE);
  const expected = {
    cpu_user_seconds_total: 5n,
    cpu_system_seconds_total: 2n,
    cpu_cfs_periods_total: 9n,
    cpu_cfs_throttled_periods_total: 4n,
    cpu_cfs_throttled_seconds_total: 1n,
    spec_cpu_period: 100_000n,
    spec_cpu_quota: 20_000n,
    spec_cpu_shares: 1024n,
    memory_usage_bytes: 5_000_000n,
    memory_working_set_bytes: 3_500_000n,
    memory_rss: 3_000_000n,
    memory_cache: 2_000_000n,
    memory_swap: 8192n,
    memory_mapped_file: 500n,
    memory_kernel_usage: 40_960n,
    memory_max_usage_bytes: 6_000_000n,
    memory_failcnt: 6n,
    oom_events_total: 3n,
    spec_memory_limit_bytes: 8_000_000n,
    spec_memory_swap_limit_bytes: 8_001_000n,
    spec_memory_reservation_limit_bytes: 4096n,
    processes: 1n,
    threads: 12n,
    threads_max: 100n,
    start_time_seconds: 5n,
  };
  const found = Object.fromEntries(Object.keys(expected).map((name) => [name, value(name)]));
  expect(found).toEqual(expected);
  expect(value("memory_failures_total", "pgfault", "container")).toBe(77n);
  expect(value("memory_failures_total", "pgmajfault", "hierarchy")).toBe(3n);
  expect(value("fs_reads_total", "999:1")).toBe(1n);
  expect(value("fs_writes_bytes_total", "999:1")).toBe(8192n);
  expect(value("blkio_device_usage_total", "999:1", "999", "1", "Write")).toBe(8192n);
  expect(value("hugetlb_usage_bytes", "2MB")).toBe(4_194_304n);
  expect(value("ulimits_soft", "max_open_files")).toBeGreaterThan(0n);
  expect(Number(value("last_seen"))).toBeCloseTo(Date.now() / 1000, -1);
  expect(value("file_descriptors")).toBeGreaterThan(3n);
  const usage = metrics.find(({ name }) => name === "container_fs_usage_bytes");
  expect(usage).toMatchObject({ value: { value: 4096n } });
  expect(usage?.timestamp).toBeGreaterThan(0n);
  if (keys.has("container_pressure_cpu_waiting_seconds_total")) {
    expect(value("pressure_cpu_waiting_seconds_total")).toBe(3n);
    expect(value("pressure_memory_stalled_seconds_total")).toBe(2n);
  }
});

test("what was read for an earlier call says when", async () => {
  const { again } = await metricsOfPod();
  const metrics = again?.containerMetrics[0]?.metrics ?? [];
  const timeOf = (name: string) => metrics.find((metric) => metric.name === `container_${name}`)?.timestamp;
  for (const name of ["memory_rss", "processes", "sockets"]) {
    expect(timeOf(name), name).toBeGreaterThan(BigInt(Date.now() - 10_000) * 1_000_000n);
  }
  expect(timeOf("last_seen")).toBe(0n);
});

test("a machine describes only what it can tell", () => {
  const names = (machine: Partial<CgroupHost>, hasPressure = false) =>
    openCatalogue({ ...host, ...machine }, hasPressure).descriptors.map(({ name }) => name ?? "");
  const bare = names({ controllers: [] });
  expect(bare).toContain("container_cpu_usage_seconds_total");
  expect(bare.filter((name) => /memory|hugetlb|threads|_reads_|blkio|spec_cpu|pressure/.test(name))).toEqual(
    [],
  );
  expect(names({ controllers: ["blkio"] })).not.toContain("container_fs_reads_total");
  const v1 = names({ version: "v1", controllers: ["blkio", "memory"], unified: undefined } as never, true);
  expect(v1).toContain("container_fs_reads_total");
  expect(v1).toContain("container_memory_rss");
  expect(v1).not.toContain("container_cpu_usage_seconds_total");
  // Pressure of a cgroup is in the cgroup2 hierarchy alone.
  expect(v1.filter((name) => name.includes("pressure"))).toEqual([]);
  expect(names({}, true).filter((name) => name.includes("pressure"))).toHaveLength(6);
});

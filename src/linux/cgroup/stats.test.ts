// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { NotFoundError } from "../../errors.ts";
import { type Cgroup, openCgroup } from "./cgroup.ts";
import type { CgroupHost } from "./host.ts";
import { parseBlkio, parseIoStat } from "./io.ts";
import { parsePressure } from "./pressure.ts";

// Plain folders with the files that the kernel shows in a cgroup of either version.

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-cgroup-stats-"));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = join(root, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${text}\n`);
  }
}

function v2(controllers = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"]): Cgroup {
  const host: CgroupHost = { version: "v2", controllers, hierarchies: [], unified: root };
  return openCgroup(host, "/pods/one");
}

function v1(): Cgroup {
  const names = ["cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb"];
  const hierarchies = names.map((name) => ({ controllers: [name], mountPoint: join(root, name) }));
  return openCgroup({ version: "v1", controllers: names, hierarchies }, "/pods/one");
}

const V2_FILES = {
  "pods/one/cpu.weight": "59",
  "pods/one/cpu.max": "20000 100000",
  "pods/one/cpu.stat":
    "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnr_periods 9\nnr_throttled 4\nthrottled_usec 70",
  "pods/one/memory.max": "1048576",
  "pods/one/memory.low": "0",
  "pods/one/memory.swap.max": "max",
  "pods/one/memory.swap.current": "8192",
  "pods/one/memory.current": "5000000",
  "pods/one/memory.peak": "6000000",
  "pods/one/memory.stat":
    "anon 3000000\nfile 2000000\nkernel 40960\nfile_mapped 500\ninactive_file 1500000\npgfault 77\npgmajfault 3",
  "pods/one/memory.events": "low 0\nhigh 0\nmax 6\noom 4\noom_kill 3\noom_group_kill 0",
  "pods/one/pids.current": "12",
  "pods/one/pids.max": "max",
  "pods/one/io.stat": "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0",
  "pods/one/hugetlb.2MB.current": "4194304",
  "pods/one/hugetlb.2MB.rsvd.current": "1",
  "pods/one/cpu.pressure":
    "some avg10=1.50 avg60=0.25 avg300=0.00 total=1005517709\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7",
};

const V2_MEMORY = {
  usageBytes: 5_000_000,
  workingSetBytes: 3_500_000,
  rssBytes: 3_000_000,
  limitBytes: 1_048_576,
  pageFaults: 77,
  majorPageFaults: 3,
  swapBytes: 8192,
  swapLimitBytes: undefined,
};

describe("on v2", () => {
  test("the short statistics are usage, working set, limits and swap", () => {
    write(V2_FILES);
    expect(v2().stats()).toEqual({ cpuUsageNs: 1_234_567_000n, memory: V2_MEMORY });
    write({ "pods/one/memory.max": "max", "pods/one/memory.swap.max": "4096" });
    expect(v2().stats().memory).toMatchObject({ limitBytes: undefined, swapLimitBytes: 4096 });
  });

  test("the details are all that the files tell", () => {
    write(V2_FILES);
    expect(v2().details()).toEqual({
      cpu: {
        usageNs: 1_234_567_000n,
        userNs: 1_000_000_000n,
        systemNs: 234_567_000n,
        bandwidth: {
          shares: 521,
          periodUs: 100_000,
          quotaUs: 20_000,
          periods: 9,
          throttledPeriods: 4,
          throttledNs: 70_000n,
        },
      },
      memory: {
        ...V2_MEMORY,
        cacheBytes: 2_000_000,
        mappedFileBytes: 500,
        kernelBytes: 40_960,
        maxUsageBytes: 6_000_000,
        limitHits: 6,
        reservationBytes: undefined,
        ownPageFaults: 77,
        ownMajorPageFaults: 3,
        oomKills: 3,
      },
      pids: { current: 12, limit: undefined },
      io: [{ device: "254:0", reads: 1, writes: 2, readBytes: 4096, writtenBytes: 8192 }],
      hugetlb: [{ pageSize: "2MB", usageBytes: 4_194_304, maxUsageBytes: undefined }],
    });
  });

  test("controllers that the machine lacks tell nothing, and CPU time needs none", () => {
    write(V2_FILES);
    const bare = v2([]);
    expect(bare.stats()).toEqual({ cpuUsageNs: 1_234_567_000n, memory: undefined });
    expect(bare.details()).toMatchObject({ memory: undefined, pids: undefined, io: [], hugetlb: [] });
    expect(bare.details().cpu.bandwidth).toBeUndefined();
  });

  test("pressure is of each resource that has a file", () => {
    write(V2_FILES);
    expect(v2().pressures()).toEqual({
      cpu: {
        some: { avg10: 1.5, avg60: 0.25, avg300: 0, totalUs: 1_005_517_709n },
        full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 7n },
      },
      memory: undefined,
      io: undefined,
    });
  });

  test("a cgroup that is gone is not found", () => {
    expect(() => v2().stats()).toThrow(NotFoundError);
    expect(() => v2().details()).toThrow(NotFoundError);
  });
});

const NO_LIMIT = "9223372036854771712";

const V1_FILES = {
  "cpu/pods/one/cpu.shares": "512",
  "cpu/pods/one/cpu.cfs_quota_us": "-1",
  "cpu/pods/one/cpu.cfs_period_us": "100000",
  "cpu/pods/one/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 70000",
  "cpuacct/pods/one/cpuacct.usage": "18446744073709551615",
  "cpuacct/pods/one/cpuacct.usage_user": "1000000000",
  "cpuacct/pods/one/cpuacct.usage_sys": "234567000",
  "memory/pods/one/memory.stat":
    "pgfault 70\npgmajfault 2\ntotal_cache 2000000\ntotal_rss 3000000\ntotal_mapped_file 500\ntotal_swap 8192\n" +
    "total_inactive_file 1500000\ntotal_pgfault 77\ntotal_pgmajfault 3",
  "memory/pods/one/memory.usage_in_bytes": "5000000",
  "memory/pods/one/memory.max_usage_in_bytes": "6000000",
  "memory/pods/one/memory.limit_in_bytes": "1048576",
  "memory/pods/one/memory.memsw.limit_in_bytes": "1052672",
  "memory/pods/one/memory.soft_limit_in_bytes": NO_LIMIT,
  "memory/pods/one/memory.kmem.usage_in_bytes": "40960",
  "memory/pods/one/memory.failcnt": "1",
  "memory/pods/one/memory.memsw.failcnt": "5",
  "memory/pods/one/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
  "pids/pods/one/pids.current": "12",
  "pids/pods/one/pids.max": "77",
  "blkio/pods/one/blkio.throttle.io_service_bytes_recursive":
    "254:0 Read 4096\n254:0 Write 8192\n254:0 Total 12288\nTotal 12288",
  "blkio/pods/one/blkio.throttle.io_serviced_recursive": "254:0 Read 1\n254:0 Write 2\nTotal 3",
  "hugetlb/pods/one/hugetlb.2MB.usage_in_bytes": "0",
  "hugetlb/pods/one/hugetlb.2MB.max_usage_in_bytes": "2097152",
};

describe("on v1", () => {
  test("the short statistics count what is below, and every nanosecond", () => {
    write(V1_FILES);
    expect(v1().stats()).toEqual({
      cpuUsageNs: 18_446_744_073_709_551_615n,
      memory: { ...V2_MEMORY, swapLimitBytes: 4096 },
    });
    write({
      "memory/pods/one/memory.limit_in_bytes": NO_LIMIT,
      "memory/pods/one/memory.memsw.limit_in_bytes": NO_LIMIT,
    });
    expect(v1().stats().memory).toMatchObject({ limitBytes: undefined, swapLimitBytes: undefined });
  });

  test("devices are counted by whichever policy counts", () => {
    write({
      ...V1_FILES,
      "blkio/pods/one/blkio.throttle.io_service_bytes_recursive": "Total 0",
      "blkio/pods/one/blkio.throttle.io_serviced_recursive": "Total 0",
      "blkio/pods/one/blkio.bfq.io_service_bytes_recursive": "8:0 Read 5",
    });
    expect(v1().details().io).toEqual([
      { device: "8:0", reads: 0, writes: 0, readBytes: 5, writtenBytes: 0 },
    ]);
  });

  test("without swap accounting nothing is said of swap", () => {
    write({ ...V1_FILES, "memory/pods/one/memory.stat": "total_rss 5" });
    rmSync(join(root, "memory/pods/one/memory.memsw.limit_in_bytes"));
    expect(v1().stats().memory).toMatchObject({ swapBytes: undefined, swapLimitBytes: undefined });
  });

  test("the details are all that the files tell", () => {
    write(V1_FILES);
    expect(v1().details()).toMatchObject({
      cpu: {
        userNs: 1_000_000_000n,
        systemNs: 234_567_000n,
        bandwidth: {
          shares: 512,
          periodUs: 100_000,
          quotaUs: undefined,
          periods: 9,
          throttledPeriods: 4,
          throttledNs: 70_000n,
        },
      },
      memory: {
        cacheBytes: 2_000_000,
        mappedFileBytes: 500,
        kernelBytes: 40_960,
        maxUsageBytes: 6_000_000,
        limitHits: 6,
        reservationBytes: undefined,
        pageFaults: 77,
        ownPageFaults: 70,
        ownMajorPageFaults: 2,
        oomKills: 3,
      },
      pids: { current: 12, limit: 77 },
      io: [{ device: "254:0", reads: 1, writes: 2, readBytes: 4096, writtenBytes: 8192 }],
      hugetlb: [{ pageSize: "2MB", usageBytes: 0, maxUsageBytes: 2_097_152 }],
    });
  });

  test("a cgroup that is gone is not found", () => {
    expect(() => v1().stats()).toThrow(NotFoundError);
    expect(() => v1().details()).toThrow(NotFoundError);
  });
});

test("tables of devices are read for what they are, and no further than a bound", () => {
  expect(parseBlkio("Total 0", "Total 0")).toEqual([]);
  expect(parseBlkio("8:0 Read 5\n8:16 Write 6\nbad Read 7", "")).toEqual([
    { device: "8:0", reads: 0, writes: 0, readBytes: 5, writtenBytes: 0 },
    { device: "8:16", reads: 0, writes: 0, readBytes: 0, writtenBytes: 6 },
  ]);
  expect(parseIoStat("")).toEqual([]);
  expect(parseIoStat("8:0 rbytes=1 cost.usage=5\n8:16 ")).toEqual([
    { device: "8:0", reads: 0, writes: 0, readBytes: 1, writtenBytes: 0 },
  ]);
  const many = Array.from({ length: 1000 }, (_, minor) => `8:${minor} rbytes=1`).join("\n");
  expect(parseIoStat(many)).toHaveLength(64);
});

test("a pressure file may lack a line", () => {
  expect(parsePressure("some avg10=0.10 avg60=99.99 avg300=3.00 total=18446744073709551615")).toEqual({
    some: { avg10: 0.1, avg60: 99.99, avg300: 3, totalUs: 18_446_744_073_709_551_615n },
    full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 0n },
  });
});

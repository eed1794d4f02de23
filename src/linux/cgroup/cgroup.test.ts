// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ERRNO } from "../abi/errno.ts";
import { replaceKernel } from "../syscall.ts";
import { type Cgroup, openCgroup } from "./cgroup.ts";
import { sharesOfWeight, weightOfShares } from "./cpu.ts";
import type { CgroupHost } from "./host.ts";

// A plain folder with the files that a v2 cgroup has: what podrt would write shows there.

let root: string;
let cgroup: Cgroup;

const FILES = {
  "cpu.weight": "100",
  "cpu.max": "max 100000",
  "cpuset.cpus": "",
  "cpuset.mems": "",
  "memory.max": "max",
  "memory.high": "max",
  "memory.swap.max": "max",
  "pids.max": "max",
  "hugetlb.2MB.max": "max",
  "hugetlb.2MB.rsvd.max": "max",
  "cgroup.procs": "",
};

function host(): CgroupHost {
  const controllers = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
  return { version: "v2", controllers, hierarchies: [], unified: root };
}

function fileOf(name: string): string {
  return readFileSync(join(root, "pods/one", name), "utf8").trim();
}

/** A kernel that lets no file of this name be opened for writing. */
function refusing(name: string, errno: number): Disposable {
  const restore = replaceKernel((real) => ({
    call: (call, args) =>
      call === "openat" && `${args[1]}`.endsWith(`/${name}`) ? -errno : real.call(call, args),
  }));
  return { [Symbol.dispose]: restore };
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-cgroup-"));
  mkdirSync(join(root, "pods/one"), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(root, "pods/one", name), `${text}\n`);
  for (const parent of [root, join(root, "pods")]) {
    writeFileSync(join(parent, "cgroup.controllers"), "cpu io memory pids misc\n");
    writeFileSync(join(parent, "cgroup.subtree_control"), "io\n");
  }
  cgroup = openCgroup(host(), "/pods/one");
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

test("every limit arrives in its v2 file in v2's terms", () => {
  cgroup.apply({
    cpuShares: 1024,
    cpuQuota: 50_000,
    cpuPeriod: 200_000,
    cpusetCpus: "0-1",
    cpusetMems: "0",
    memoryLimitBytes: 64 << 20,
    memorySwapLimitBytes: 96 << 20,
    pidsLimit: 77,
    hugepageLimits: [{ pageSize: "2MB", limitBytes: 4 << 20 }],
    unified: { "memory.high": "60000000" },
  });
  expect(fileOf("cpu.weight")).toBe("100");
  expect(fileOf("cpu.max")).toBe("50000 200000");
  expect(fileOf("cpuset.cpus")).toBe("0-1");
  expect(fileOf("cpuset.mems")).toBe("0");
  expect(fileOf("memory.max")).toBe(`${64 << 20}`);
  expect(fileOf("memory.swap.max")).toBe(`${32 << 20}`);
  expect(fileOf("pids.max")).toBe("77");
  expect(fileOf("hugetlb.2MB.max")).toBe(`${4 << 20}`);
  expect(fileOf("hugetlb.2MB.rsvd.max")).toBe(`${4 << 20}`);
  expect(fileOf("memory.high")).toBe("60000000");
});

test("a memory limit alone leaves no swap, and -1 takes limits away", () => {
  cgroup.apply({ memoryLimitBytes: 64 << 20 });
  expect(fileOf("memory.swap.max")).toBe("0");
  cgroup.apply({ memoryLimitBytes: -1, pidsLimit: -1, cpuQuota: -1 });
  expect(fileOf("memory.max")).toBe("max");
  expect(fileOf("memory.swap.max")).toBe("max");
  expect(fileOf("pids.max")).toBe("max");
  expect(fileOf("cpu.max")).toBe("max 100000");
});

test("what is absent, 0 or empty is left alone", () => {
  cgroup.apply({ cpuShares: 0, cpuQuota: 0, memoryLimitBytes: 0, pidsLimit: 0, cpusetCpus: "", unified: {} });
  for (const [name, text] of Object.entries(FILES)) expect(fileOf(name)).toBe(text);
});

test("a quota keeps the period that is in force, and a period the quota", () => {
  cgroup.apply({ cpuQuota: 30_000, cpuPeriod: 60_000 });
  cgroup.apply({ cpuQuota: 40_000 });
  expect(fileOf("cpu.max")).toBe("40000 60000");
  cgroup.apply({ cpuPeriod: 80_000 });
  expect(fileOf("cpu.max")).toBe("40000 80000");
});

test("when one file refuses, those written before it get their values back", () => {
  using _ = refusing("pids.max", ERRNO.EINVAL);
  expect(() => cgroup.apply({ cpuShares: 2, memoryLimitBytes: 4096, pidsLimit: 5 })).toThrow(
    `cannot write "5" to ${root}/pods/one/pids.max: EINVAL (the kernel refuses this value)`,
  );
  expect(fileOf("cpu.weight")).toBe("100");
  expect(fileOf("memory.max")).toBe("max");
  expect(fileOf("memory.swap.max")).toBe("max");
});

test("what cannot be put back is said", () => {
  let calls = 0;
  const restore = replaceKernel((real) => ({
    call: (call, args) => (call === "openat" && calls++ > 0 ? -ERRNO.EIO : real.call(call, args)),
  }));
  try {
    expect(() => cgroup.apply({ cpuShares: 2, pidsLimit: 5 })).toThrow(
      `pids.max: EIO; and these could not be put back: ${root}/pods/one/cpu.weight (EIO)`,
    );
  } finally {
    restore();
  }
});

test("a missing file is named together with what may be wrong", () => {
  rmSync(join(root, "pods/one/cpu.weight"));
  expect(() => cgroup.apply({ cpuShares: 512 })).toThrow(
    /cannot write "59" to .*cpu.weight: ENOENT \(the kernel has no such file here: is its controller/,
  );
});

test("without swap accounting only a swap limit equal to the memory limit is accepted", () => {
  rmSync(join(root, "pods/one/memory.swap.max"));
  cgroup.apply({ memoryLimitBytes: 4096, memorySwapLimitBytes: 4096 });
  expect(fileOf("memory.max")).toBe("4096");
  expect(() => cgroup.apply({ memoryLimitBytes: 4096, memorySwapLimitBytes: 8192 })).toThrow(
    /memorySwapLimitBytes cannot be honoured: .*memory.swap.max does not exist/,
  );
});

test("impossible limits are refused with the field's path before anything is written", () => {
  const refused = [
    [{ memoryLimitBytes: -2 }, "memoryLimitBytes: must be -1 or an integer from 1 on, but is -2"],
    [
      { memoryLimitBytes: 8192, memorySwapLimitBytes: 4096 },
      "memorySwapLimitBytes: is memory and swap together",
    ],
    [
      { memoryLimitBytes: -1, memorySwapLimitBytes: 4096 },
      "memorySwapLimitBytes: is memory and swap together",
    ],
    [{ cpuQuota: 10 }, "cpuQuota: must be -1 or an integer from 1000 on"],
    [{ cpusetCpus: "0;1" }, "cpusetCpus: must be a list like 0-2,5"],
    [{ hugepageLimits: [{ pageSize: "2M", limitBytes: 1 }] }, "hugepageLimits[0].pageSize: must be like 2MB"],
    [
      { unified: { "cgroup.procs": "1" } },
      'unified["cgroup.procs"]: must be a file of a cgroup v2 controller',
    ],
    [{ unified: { "../memory.max": "1" } }, 'unified["../memory.max"]: must be a file'],
    [{ unified: { "rdma.max": "1" } }, 'unified["rdma.max"]: cannot be honoured: this machine has no rdma'],
  ] as const;
  for (const [resources, message] of refused) expect(() => cgroup.apply(resources)).toThrow(message);
  for (const [name, text] of Object.entries(FILES)) expect(fileOf(name)).toBe(text);
});

test("limits of v2 files are refused on v1", () => {
  const mountPoint = join(root, "pods");
  const v1 = { ...host(), version: "v1", hierarchies: [{ controllers: ["memory"], mountPoint }] } as const;
  expect(() => openCgroup(v1, "/one").apply({ unified: { "memory.high": "1" } })).toThrow(
    "this machine's controllers are in cgroup v1",
  );
  expect(() => openCgroup(v1, "/one").apply({ cpuShares: 2 })).toThrow(
    "cpuShares: cannot be honoured: this machine has no cpu cgroup controller",
  );
});

test("creating hands the controllers down that the parents have and podrt uses", () => {
  cgroup.create();
  expect(readFileSync(join(root, "cgroup.subtree_control"), "utf8")).toBe("+cpu +memory +pids\n");
  expect(readFileSync(join(root, "pods/cgroup.subtree_control"), "utf8")).toBe("+cpu +memory +pids\n");
});

test("processes are those of the cgroup and of all below it, once each", () => {
  mkdirSync(join(root, "pods/one/inner"));
  writeFileSync(join(root, "pods/one/cgroup.procs"), "10\n0\n11\n");
  writeFileSync(join(root, "pods/one/inner/cgroup.procs"), "12\n11\n");
  expect(cgroup.pids().sort()).toEqual([10, 11, 12]);
  expect(openCgroup(host(), "/pods/gone").pids()).toEqual([]);
});

test("a path that could leave the tree or name its root is refused", () => {
  for (const path of [
    "",
    "/",
    "pods/one",
    "/pods//one",
    "/pods/../..",
    "/./x",
    "/a\n",
    `/${"x".repeat(256)}`,
  ]) {
    expect(() => openCgroup(host(), path)).toThrow("cgroup path: must be absolute");
  }
});

test("shares keep their usual value and their ends as a weight", () => {
  expect([2, 1024, 262_144, 1, 10_000_000].map(weightOfShares)).toEqual([1, 100, 10_000, 1, 10_000]);
  let former = 0;
  for (let shares = 2; shares <= 262_144; shares *= 2) {
    expect(weightOfShares(shares)).toBeGreaterThanOrEqual(former);
    former = weightOfShares(shares);
  }
  // There are fewer weights than shares.
  for (let shares = 2; shares <= 262_144; shares += Math.ceil(shares / 7)) {
    expect(weightOfShares(sharesOfWeight(weightOfShares(shares)))).toBe(weightOfShares(shares));
  }
  expect([1, 100, 10_000].map(sharesOfWeight)).toEqual([2, 1024, 262_144]);
});

describe("an update while processes are in it", () => {
  test("writes v2's files, keeps what it does not name, and can be taken back", async () => {
    cgroup.apply({ cpuShares: 2, memoryLimitBytes: 64 << 20, unified: { "memory.high": "50000000" } });
    const takeBack = await cgroup.update({
      cpuQuota: 30_000,
      memoryLimitBytes: 128 << 20,
      memorySwapLimitBytes: 160 << 20,
      hugepageLimits: [{ pageSize: "2MB", limitBytes: 2 << 20 }],
      unified: { "memory.high": "max" },
    });
    expect(fileOf("cpu.weight")).toBe("1");
    expect(fileOf("cpu.max")).toBe("30000 100000");
    expect(fileOf("memory.max")).toBe(`${128 << 20}`);
    expect(fileOf("memory.swap.max")).toBe(`${32 << 20}`);
    expect(fileOf("memory.high")).toBe("max");
    expect(fileOf("hugetlb.2MB.max")).toBe(`${2 << 20}`);
    await takeBack();
    expect(fileOf("cpu.max")).toBe("max 100000");
    expect(fileOf("memory.max")).toBe(`${64 << 20}`);
    expect(fileOf("memory.swap.max")).toBe("0");
    expect(fileOf("memory.high")).toBe("50000000");
  });

  test("that is refused half-way leaves everything as it was", async () => {
    const file = join(root, "pods/one/pids.max");
    rmSync(file);
    const update = cgroup.update({ cpuShares: 2, memoryLimitBytes: 4096, pidsLimit: 5 });
    await expect(update).rejects.toMatchObject({
      kind: "FailedPrecondition",
      message: expect.stringContaining(`cannot write "5" to ${file}: ENOENT`),
    });
    expect(fileOf("cpu.weight")).toBe("100");
    expect(fileOf("memory.max")).toBe("max");
  });

  test("of a cgroup that is gone says so", async () => {
    rmSync(join(root, "pods/one"), { recursive: true });
    await expect(cgroup.update({ cpuShares: 2 })).rejects.toMatchObject({ kind: "FailedPrecondition" });
  });
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { NotFoundError } from "../../src/errors.ts";
import { type Cgroup, openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { ALL_DEVICES, DEFAULT_DEVICE_RULES } from "../../src/linux/cgroup/device-rules.ts";
import { type CgroupHost, detectCgroups } from "../../src/linux/cgroup/host.ts";
import { patience } from "../support/patience.ts";
import { eventually } from "./harness/eventually.ts";

const host = process.getuid?.() === 0 ? detectCgroups() : undefined;
const isV1 = host !== undefined && host.version !== "v2";

const opened: Cgroup[] = [];
const children: Bun.Subprocess[] = [];

/** A cgroup of this test's own, emptied and removed when it ends. */
function newCgroup(on: CgroupHost = host as CgroupHost): Cgroup {
  const cgroup = openCgroup(on, `/podrt-test-${randomBytes(6).toString("hex")}`);
  opened.push(cgroup);
  return cgroup;
}

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  for (const cgroup of opened.splice(0).reverse()) {
    await cgroup.kill();
    await cgroup.remove();
    expect(cgroup.exists()).toBe(false);
  }
});

/** A shell that joins `cgroup` in every hierarchy before it runs `script`. */
async function runIn(cgroup: Cgroup, script: string): Promise<Bun.Subprocess<"ignore", "pipe", "pipe">> {
  const unified = cgroup.directoryFd();
  const files = [...cgroup.joinTargets()];
  if (unified !== undefined) files.push(`/proc/${process.pid}/fd/${unified.number}/cgroup.procs`);
  const joins = files.map((file) => `echo 0 > ${file};`).join(" ");
  const child = Bun.spawn(["sh", "-ec", `${joins} echo joined; ${script}`], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  children.push(child);
  const until = Date.now() + 5_000 * patience;
  while (membershipsIn(cgroup, child.pid) < files.length && child.exitCode === null && Date.now() < until) {
    await Bun.sleep(1);
  }
  unified?.close();
  return child;
}

// Only root may make cgroups.
test.skipIf(host === undefined)(
  "what is kept open of a cgroup is not asked when it has been made anew",
  async () => {
    const path = `/podrt-test-${randomBytes(6).toString("hex")}`;
    const kept = { left: 100 };
    const cgroup = openCgroup(host as CgroupHost, path, kept);
    opened.push(cgroup);
    cgroup.create();
    const shell = await runIn(cgroup, "exec sleep 60");
    await eventually("it has used memory", () => (cgroup.stats().memory?.pageFaults ?? 0) > 0);
    const before = cgroup.stats();
    expect(kept.left).toBeLessThan(100);
    await cgroup.kill();
    await shell.exited;
    await cgroup.remove();
    expect(() => cgroup.stats()).toThrow(NotFoundError);
    cgroup.create();
    expect(cgroup.stats().memory?.pageFaults).toBeLessThan(before.memory?.pageFaults as number);
    expect(cgroup.stats().cpuUsageNs).toBeLessThan(before.cpuUsageNs as bigint);
    cgroup.close();
    expect(kept.left).toBe(100);
  },
);

/** Twenty shells that start one program after the other. */
const FORKING = "for i in $(seq 20); do (while :; do /bin/true; done) & done; wait";

/** In how many hierarchies the process has joined. */
function membershipsIn(cgroup: Cgroup, pid: number): number {
  try {
    const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
    return lines.filter((line) => decodeURIComponent(line).endsWith(cgroup.path)).length;
  } catch {
    return 0;
  }
}

function fileOf(cgroup: Cgroup, controller: string, name: string): string {
  const hierarchy = host?.hierarchies.find(({ controllers }) => controllers.includes(controller));
  return readFileSync(`${hierarchy?.mountPoint}${cgroup.path}/${name}`, "utf8").trim();
}

// Only root may make cgroups.
describe.skipIf(host === undefined)("a cgroup on this machine (skipped unless root)", () => {
  test("is made in every hierarchy, joined, killed and removed", async () => {
    const cgroup = newCgroup();
    expect(cgroup.exists()).toBe(false);
    cgroup.create();
    cgroup.create();
    expect(cgroup.exists()).toBe(true);
    const child = await runIn(cgroup, "sleep 60 & sleep 60");
    const memberships = readFileSync(`/proc/${child.pid}/cgroup`, "utf8").trim().split("\n");
    for (const { controllers } of host?.hierarchies ?? []) {
      const line = memberships.find((text) =>
        text
          .split(":")[1]
          ?.split(",")
          .includes(controllers[0] as string),
      );
      expect(line).toEndWith(cgroup.path);
    }
    expect(cgroup.pids()).toContain(child.pid);
    const before = performance.now();
    await cgroup.kill();
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(cgroup.pids()).toEqual([]);
    expect(await child.exited).toBe(137);
    await cgroup.remove();
    await cgroup.remove();
    expect(cgroup.exists()).toBe(false);
  });

  test("is removed with the cgroups inside it, and not while a process is there", async () => {
    const parent = newCgroup();
    const inner = openCgroup(host as CgroupHost, `${parent.path}/pod/inner`);
    inner.create();
    const child = await runIn(inner, "exec sleep 60");
    expect(parent.pids()).toEqual([child.pid]);
    await expect(parent.remove()).rejects.toThrow(`processes ${child.pid} are still in it`);
    await parent.kill();
    expect(await child.exited).toBe(137);
    await parent.remove();
    expect(inner.exists()).toBe(false);
  }, 15_000);

  test("is emptied of processes that fork all the time", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    await runIn(cgroup, FORKING);
    while (cgroup.pids().length < 20) await Bun.sleep(1);
    await cgroup.kill();
    expect(cgroup.pids()).toEqual([]);
  });

  test("stops and goes on", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    await runIn(cgroup, "while :; do :; done");
    await cgroup.freeze();
    const used = () => cgroup.stats().cpuUsageNs as bigint;
    // On v2 a process counts as frozen a moment before it is off the processor.
    const frozen = await eventually("no processor time is used", async () => {
      const before = used();
      await Bun.sleep(50);
      return used() === before && before;
    });
    cgroup.thaw();
    await eventually("processor time is used again", () => used() > frozen);
  });

  test("is emptied even when its processes are frozen", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    const child = await runIn(cgroup, "sleep 60");
    await cgroup.freeze();
    await cgroup.kill();
    expect(await child.exited).toBe(137);
  });

  test("counts what it uses and whom the kernel kills for memory", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    cgroup.apply({ memoryLimitBytes: 32 * 1024 * 1024 });
    const child = await runIn(cgroup, "tail /dev/zero");
    expect(cgroup.outOfMemory()).toBeUndefined();
    await child.exited;
    const limit = { path: cgroup.path, bytes: 32 * 1024 * 1024 };
    expect(cgroup.outOfMemory()).toEqual({ kills: 1, limit });
    const stats = cgroup.stats();
    expect(stats.cpuUsageNs as bigint).toBeGreaterThan(0n);
    expect(stats.memory?.limitBytes).toBe(32 * 1024 * 1024);
    expect(stats.memory?.usageBytes as number).toBeLessThan(33 * 1024 * 1024);
    expect(stats.memory?.pageFaults as number).toBeGreaterThan(0);
    expect(cgroup.details().pids).toEqual({ current: 0, limit: undefined });
  });

  test("gives up naming the process that will not die", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    const { killEverything } = await import("../../src/linux/cgroup/kill.ts");
    const immortal = {
      path: cgroup.path,
      pids: () => [process.pid],
      killAtOnce: () => true,
      freeze: async () => false,
      thaw: () => {},
    };
    await expect(killEverything(immortal, 3)).rejects.toThrow(
      new RegExp(
        `cannot empty cgroup ${cgroup.path}: process ${process.pid} \\(.*\\), .* 3 ms after SIGKILL`,
      ),
    );
  });
});

// On a v2 machine there are no such files.
describe.skipIf(!isV1)("limits on cgroup v1 (skipped unless root on v1 or hybrid)", () => {
  test("every limit arrives in its file", () => {
    const cgroup = newCgroup();
    cgroup.create();
    cgroup.apply({
      cpuShares: 512,
      cpuQuota: 50_000,
      cpuPeriod: 200_000,
      cpusetCpus: "0",
      cpusetMems: "0",
      memoryLimitBytes: 64 << 20,
      memorySwapLimitBytes: 96 << 20,
      pidsLimit: 77,
      hugepageLimits: [{ pageSize: "2MB", limitBytes: 0 }],
    });
    expect(fileOf(cgroup, "cpu", "cpu.shares")).toBe("512");
    expect(fileOf(cgroup, "cpu", "cpu.cfs_quota_us")).toBe("50000");
    expect(fileOf(cgroup, "cpu", "cpu.cfs_period_us")).toBe("200000");
    expect(fileOf(cgroup, "cpuset", "cpuset.cpus")).toBe("0");
    expect(fileOf(cgroup, "memory", "memory.limit_in_bytes")).toBe(`${64 << 20}`);
    expect(fileOf(cgroup, "memory", "memory.memsw.limit_in_bytes")).toBe(`${96 << 20}`);
    expect(fileOf(cgroup, "pids", "pids.max")).toBe("77");
  });

  test("limits rise, fall and go away in any order", () => {
    const cgroup = newCgroup();
    cgroup.create();
    for (const [limit, total] of [
      [64, 128],
      [256, 512],
      [32, 32],
      [1024, 1024],
      [-1, -1],
      [16, -1],
    ] as const) {
      const bytes = (megabytes: number) => (megabytes === -1 ? -1 : megabytes * 2 ** 20);
      cgroup.apply({ memoryLimitBytes: bytes(limit), memorySwapLimitBytes: bytes(total) });
      const unlimited = "9223372036854771712";
      const shown = (megabytes: number) => (megabytes === -1 ? unlimited : `${bytes(megabytes)}`);
      expect(fileOf(cgroup, "memory", "memory.limit_in_bytes")).toBe(shown(limit));
      expect(fileOf(cgroup, "memory", "memory.memsw.limit_in_bytes")).toBe(shown(total));
    }
    for (const [cpuQuota, cpuPeriod] of [
      [100_000, 100_000],
      [2000, 2000],
      [900_000, 1_000_000],
      [-1, 50_000],
    ] as const) {
      cgroup.apply({ cpuQuota, cpuPeriod });
      expect(fileOf(cgroup, "cpu", "cpu.cfs_quota_us")).toBe(`${cpuQuota}`);
      expect(fileOf(cgroup, "cpu", "cpu.cfs_period_us")).toBe(`${cpuPeriod}`);
    }
  });

  test("a refused limit leaves all as it was and names its file", () => {
    const cgroup = newCgroup();
    cgroup.create();
    cgroup.apply({ cpuShares: 700, memoryLimitBytes: 64 << 20 });
    const impossible = { cpuShares: 300, memoryLimitBytes: 128 << 20, pidsLimit: 10_000_000_000 };
    expect(() => cgroup.apply(impossible)).toThrow(
      `cannot write "10000000000" to /sys/fs/cgroup/pids${cgroup.path}/pids.max: EINVAL`,
    );
    expect(fileOf(cgroup, "cpu", "cpu.shares")).toBe("700");
    expect(fileOf(cgroup, "memory", "memory.limit_in_bytes")).toBe(`${64 << 20}`);
    expect(fileOf(cgroup, "memory", "memory.memsw.limit_in_bytes")).toBe(`${64 << 20}`);
  });

  test("an update of memory in use is refused, without an effect", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    cgroup.apply({ cpuShares: 700, memoryLimitBytes: 256 << 20 });
    const child = await runIn(
      cgroup,
      "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo held; sleep 60; echo $x",
    );
    while ((cgroup.stats().memory?.rssBytes ?? 0) < 36e6 && child.exitCode === null) await Bun.sleep(1);
    const update = { cpuShares: 300, memoryLimitBytes: 8 << 20, memorySwapLimitBytes: 8 << 20 };
    await expect(cgroup.update(update)).rejects.toMatchObject({
      kind: "FailedPrecondition",
      message: expect.stringMatching(/limit_in_bytes: EBUSY .*more is in use/),
    });
    expect(fileOf(cgroup, "cpu", "cpu.shares")).toBe("700");
    expect(fileOf(cgroup, "memory", "memory.limit_in_bytes")).toBe(`${256 << 20}`);
    expect(fileOf(cgroup, "memory", "memory.memsw.limit_in_bytes")).toBe(`${256 << 20}`);
  });

  test("an update in any order of sizes arrives whole, and can be taken back", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    let former = ["9223372036854771712", "9223372036854771712"];
    for (const [limit, total] of [
      [64, 128],
      [256, 512],
      [32, 32],
      [1024, 1024],
      [16, 900],
    ] as const) {
      const wanted = [`${limit * 2 ** 20}`, `${total * 2 ** 20}`];
      const update = { memoryLimitBytes: limit * 2 ** 20, memorySwapLimitBytes: total * 2 ** 20 };
      const shown = () => [
        fileOf(cgroup, "memory", "memory.limit_in_bytes"),
        fileOf(cgroup, "memory", "memory.memsw.limit_in_bytes"),
      ];
      const takeBack = await cgroup.update(update);
      expect(shown()).toEqual(wanted);
      await takeBack();
      expect(shown()).toEqual(former);
      await cgroup.update(update);
      former = wanted;
    }
  });

  test("a cpuset inside another begins with its parent's processors", () => {
    const parent = newCgroup();
    parent.create();
    parent.apply({ cpusetCpus: "1" });
    const inner = openCgroup(host as CgroupHost, `${parent.path}/a/b`);
    inner.create();
    expect(fileOf(inner, "cpuset", "cpuset.cpus")).toBe("1");
  });

  test("processes are killed through the freezer where cgroup.kill is missing", async () => {
    const { unified: _, ...withoutUnified } = host as CgroupHost;
    const cgroup = newCgroup({ ...withoutUnified, version: "v1" });
    cgroup.create();
    expect(cgroup.directoryFd()).toBeUndefined();
    await runIn(cgroup, FORKING);
    while (cgroup.pids().length < 20) await Bun.sleep(1);
    await cgroup.kill();
    expect(cgroup.pids()).toEqual([]);
  });
});

const REACH = "dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null && echo null";
const BLOCKED = "head -c0 /dev/kmsg 2>/dev/null && echo kmsg || echo no kmsg";

/** What a process in the cgroup can open. */
async function reachable(cgroup: Cgroup): Promise<string[]> {
  const child = await runIn(cgroup, `${REACH}; ${BLOCKED}`);
  await child.exited;
  return (await new Response(child.stdout).text()).trim().split("\n").slice(1);
}

// Only root may make cgroups.
describe.skipIf(host === undefined)("devices (skipped unless root)", () => {
  test("a container opens its own devices and no others", async () => {
    const cgroup = newCgroup();
    cgroup.create();
    cgroup.applyDevices(DEFAULT_DEVICE_RULES);
    cgroup.applyDevices(DEFAULT_DEVICE_RULES);
    expect(await reachable(cgroup)).toEqual(["null", "no kmsg"]);
    cgroup.applyDevices([
      ...DEFAULT_DEVICE_RULES,
      { allow: true, type: "c", major: 1, minor: 11, access: "r" },
    ]);
    expect(await reachable(cgroup)).toEqual(["null", "kmsg"]);
    cgroup.applyDevices(ALL_DEVICES);
    expect(await reachable(cgroup)).toEqual(["null", "kmsg"]);
  });
});

// The program needs root, and a cgroup2 hierarchy to be attached to.
describe.skipIf(!host?.unified)("devices by a BPF program (skipped unless root with cgroup2 mounted)", () => {
  test("the program on the cgroup2 directory says the same", async () => {
    const onlyUnified = { ...(host as CgroupHost), version: "v2" as const, hierarchies: [], controllers: [] };
    const cgroup = newCgroup(onlyUnified);
    cgroup.create();
    const inUnified = async () => {
      const directory = `${host?.unified}${cgroup.path}`;
      const script = `echo 0 > ${directory}/cgroup.procs; ${REACH}; ${BLOCKED}`;
      const child = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
      await child.exited;
      return (await new Response(child.stdout).text()).trim().split("\n");
    };
    cgroup.applyDevices(DEFAULT_DEVICE_RULES);
    expect(await inUnified()).toEqual(["null", "no kmsg"]);
    cgroup.applyDevices([
      ...DEFAULT_DEVICE_RULES,
      { allow: true, type: "c", major: 1, minor: 11, access: "r" },
    ]);
    expect(await inUnified()).toEqual(["null", "kmsg"]);
    cgroup.applyDevices([...ALL_DEVICES, { allow: false, type: "c", major: 1, minor: 11, access: "r" }]);
    expect(await inUnified()).toEqual(["null", "no kmsg"]);
    cgroup.applyDevices(ALL_DEVICES);
    expect(await inUnified()).toEqual(["null", "kmsg"]);
  });
});

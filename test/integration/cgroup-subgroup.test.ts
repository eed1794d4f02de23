// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { type Cgroup, openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { type CgroupHost, detectCgroups } from "../../src/linux/cgroup/host.ts";
import { openSubgroup, subgroupNames } from "../../src/linux/cgroup/subgroup.ts";

const host = process.getuid?.() === 0 ? detectCgroups() : undefined;

const opened: Cgroup[] = [];
const children: Bun.Subprocess[] = [];

/** A cgroup of this test's own, emptied and removed when it ends. */
function newCgroup(on: CgroupHost): Cgroup {
  const cgroup = openCgroup(on, `/podrt-test-${randomBytes(6).toString("hex")}`);
  opened.push(cgroup);
  return cgroup;
}

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  for (const cgroup of opened.splice(0)) {
    await cgroup.kill();
    await cgroup.remove();
    expect(cgroup.exists()).toBe(false);
  }
});

// Only root may make cgroups, and the child is in the cgroup2 hierarchy.
describe.skipIf(!host?.unified)("a child in cgroup2 (skipped unless root with cgroup2 mounted)", () => {
  const onlyUnified = { ...(host as CgroupHost), version: "v2" as const, hierarchies: [], controllers: [] };

  for (const [kind, on] of [
    ["a v2 machine", onlyUnified],
    ["this machine", host as CgroupHost],
  ] as const) {
    test(`is killed at once, with what has a session of its own, while the cgroup goes on: ${kind}`, async () => {
      const cgroup = newCgroup(on);
      cgroup.create();
      const group = openSubgroup(on, cgroup.path, "exec-1")!;
      using directory = group.create();
      using ofCgroup = cgroup.directoryFd()!;
      const start = (fd: number, script: string) => {
        const join = `echo 0 > /proc/${process.pid}/fd/${fd}/cgroup.procs`;
        const child = Bun.spawn(["sh", "-ec", `${join}; ${script}`], { stdout: "pipe" });
        children.push(child);
        return child;
      };
      const stays = start(ofCgroup.number, "exec sleep 60");
      const goes = start(
        directory.number,
        "setsid sleep 60 & echo ready; (setsid sleep 60 &); exec sleep 60",
      );
      await goes.stdout.getReader().read();
      expect(subgroupNames(on, cgroup.path)).toEqual(["exec-1"]);
      expect(group.remove()).toBe(false);
      expect(group.kill()).toBe(true);
      expect(await goes.exited).toBe(137);
      while (group.isPopulated()) await Bun.sleep(1);
      expect(group.remove()).toBe(true);
      expect(group.remove()).toBe(true);
      expect(subgroupNames(on, cgroup.path)).toEqual([]);
      expect(group.kill()).toBe(false);
      expect(stays.exitCode).toBeNull();
    });
  }

  test("goes with the cgroups that its processes made in it, and with its parent", async () => {
    const cgroup = newCgroup(host!);
    cgroup.create();
    const [one, other] = ["exec-1", "exec-2"].map((name) => openSubgroup(host!, cgroup.path, name)!);
    const directories = [one!.create(), other!.create()];
    for (const { number } of directories) mkdirSync(`/proc/self/fd/${number}/inner`);
    for (const directory of directories) directory.close();
    expect(one!.remove()).toBe(true);
    await cgroup.remove();
    expect(subgroupNames(host!, cgroup.path)).toEqual([]);
    expect(() => other!.create()).toThrow("ENOENT");
  });
});

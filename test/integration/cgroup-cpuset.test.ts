// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { O_WRONLY } from "../../src/linux/abi/fcntl.ts";
import { type Cgroup, openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import { replaceKernel } from "../../src/linux/syscall.ts";

const host = detectCgroups();
const cpuset = host.hierarchies.find(({ controllers }) => controllers.includes("cpuset"))?.mountPoint;

const newCgroup = () => openCgroup(host, `/podrt-test-${randomBytes(6).toString("hex")}`);
const fileOf = ({ path }: Cgroup, name: string) => `${cpuset}${path}/${name}`;
const textOf = (cgroup: Cgroup, name: string) => readFileSync(fileOf(cgroup, name), "utf8").trim();

/** The files that `work` opens for writing. */
function writtenBy(work: () => void): string[] {
  const written: string[] = [];
  const restore = replaceKernel((real) => ({
    call: (call, args) => {
      if (call === "openat" && (Number(args[2]) & O_WRONLY) !== 0) written.push(`${args[1]}`);
      return real.call(call, args);
    },
  }));
  try {
    work();
  } finally {
    restore();
  }
  return written;
}

// With cgroup v2 the kernel hands cpusets down by itself.
test.skipIf(cpuset === undefined)(
  "a cgroup begins with its parent's cpuset, which nobody writes, and the parent keeps its own setting",
  async () => {
    const parent = newCgroup();
    const child = openCgroup(host, `${parent.path}/pod/pause`);
    try {
      parent.create();
      writeFileSync(fileOf(parent, "cgroup.clone_children"), "0");
      const written = writtenBy(() => child.create());
      expect(new Set(written)).toEqual(new Set([fileOf(parent, "cgroup.clone_children")]));
      for (const name of ["cpuset.cpus", "cpuset.mems"])
        expect(textOf(child, name)).toBe(textOf(parent, name));
      expect(textOf(parent, "cgroup.clone_children")).toBe("0");
    } finally {
      await parent.remove();
    }
  },
);

test("a value that is there already is not written", async () => {
  const cgroup = newCgroup();
  try {
    cgroup.create();
    const written = writtenBy(() => {
      cgroup.apply({ pidsLimit: 7 });
      cgroup.apply({ pidsLimit: 7, cpuPeriod: 100_000 });
    });
    expect(written.map((file) => file.slice(file.lastIndexOf("/") + 1))).toEqual(["pids.max"]);
  } finally {
    await cgroup.remove();
  }
});

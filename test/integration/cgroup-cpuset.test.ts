// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_WRONLY } from "../../src/linux/abi/fcntl.ts";
import { BorrowedFile } from "../../src/linux/cgroup/borrowed-file.ts";
import { type Cgroup, openCgroup } from "../../src/linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../src/linux/cgroup/host.ts";
import { replaceKernel } from "../../src/linux/syscall.ts";

const host = detectCgroups();
const cpuset = host.hierarchies.find(({ controllers }) => controllers.includes("cpuset"))?.mountPoint;

const directory = mkdtempSync(join(tmpdir(), "podrt-cpuset-"));
const note = join(directory, "note");
const borrowing = { ...host, borrowed: new BorrowedFile(note) };
afterAll(() => rmSync(directory, { recursive: true }));

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
    const child = openCgroup(borrowing, `${parent.path}/pod/pause`);
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

// The same.
test.skipIf(cpuset === undefined)(
  "a setting of the parent that a daemon was killed over is put back by the next one",
  async () => {
    const parent = newCgroup();
    const child = openCgroup(borrowing, `${parent.path}/pod`);
    const setting = () => textOf(parent, "cgroup.clone_children");
    try {
      parent.create();
      writeFileSync(fileOf(parent, "cgroup.clone_children"), "0");
      const between: string[] = [];
      let noted = "";
      const restore = replaceKernel((real) => ({
        call(call, args) {
          if (call === "mkdirat" && `${args[1]}`.startsWith(`${cpuset}${child.path}`)) {
            between.push(setting());
            noted = readFileSync(note, "utf8");
          }
          return real.call(call, args);
        },
      }));
      try {
        child.create();
      } finally {
        restore();
      }
      expect(between).toEqual(["1"]);
      expect(readFileSync(note, "utf8")).toStartWith("\n");
      // As it is when nothing of podrt runs any more after that.
      writeFileSync(fileOf(parent, "cgroup.clone_children"), "1");
      writeFileSync(note, noted);
      new BorrowedFile(note).close();
      expect(setting()).toBe("0");
      expect(existsSync(note)).toBe(false);
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

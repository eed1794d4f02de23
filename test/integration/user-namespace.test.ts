// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { mountRoot } from "../../src/container/user-namespace.ts";
import { forkChild } from "../../src/launch/fork.ts";
import { startMonitor } from "../../src/launch/monitor-process.ts";
import { newPassedFds } from "../../src/launch/passed-fds.ts";
import { newProgram, type Table } from "../../src/launch/program.ts";
import { newUserNamespace } from "../../src/launch/user-namespace.ts";
import { probeUserNamespaces } from "../../src/launch/user-namespace-probe.ts";
import { MNT_DETACH } from "../../src/linux/abi/mount.ts";
import { CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from "../../src/linux/abi/sched.ts";
import { isAtLeast } from "../../src/linux/kernel-release.ts";
import { replaceKernel, syscall } from "../../src/linux/syscall.ts";
import { hostId, hostRoot } from "../../src/oci/id-mapping.ts";

const range = { containerID: 0, hostID: 300_000, size: 1000 };
const mappings = { uids: [range], gids: [{ ...range, hostID: 400_000 }] };
// clone_private_mount of the kernel's fs/namespace.c takes them from there on.
const takesDetachedLayers = isAtLeast(release(), "6.15");
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-userns-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim();
/** The mounts below the directory of these tests: others come and go on the machine. */
function mounts(): string {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes(` ${dir}`)).join("\n");
}

test("ids are looked up in their ranges", () => {
  const two = [range, { containerID: 1000, hostID: 5, size: 2 }];
  expect([0, 999, 1000, 1001, 1002].map((id) => hostId(two, id))).toEqual([
    300_000,
    300_999,
    5,
    6,
    undefined,
  ]);
  expect(hostRoot(mappings)).toEqual({ uid: 300_000, gid: 400_000 });
});

test("a user namespace is held by its descriptor alone, and no process is left", () => {
  using first = newUserNamespace(mappings);
  using second = newUserNamespace(mappings);
  expect(fstatSync(first.number).ino).not.toBe(fstatSync(second.number).ino);
  expect(fstatSync(first.number).ino).not.toBe(statSync("/proc/self/ns/user").ino);
  expect(children()).toBe("");
});

test("a map that the kernel refuses is named, and no process is left", () => {
  const twice = { uids: [range, range], gids: [range] };
  expect(() => newUserNamespace(twice)).toThrow('uid_map "0 300000 1000, 0 300000 1000": write: EINVAL');
  expect(children()).toBe("");
});

const ways: readonly (readonly [string, string?])[] = [
  ...(takesDetachedLayers ? [["detached"] as const] : []),
  ["attached for a moment, as older kernels want it", "mountpoint"],
];

describe.each(ways)("over layers that are %s", (_, name) => {
  test("a root shows the ids of its layers as mapped, and what is written as it is", () => {
    const base = mkdtempSync(join(dir, "root-"));
    for (const path of ["layers/1/etc", "layers/2", "other/3", "upper", "work", "mountpoint"])
      mkdirSync(join(base, path), { recursive: true });
    writeFileSync(join(base, "layers/1/etc/passwd"), "");
    writeFileSync(join(base, "layers/2/top"), "");
    writeFileSync(join(base, "other/3/bottom"), "");
    const attachAt = name && join(base, name);
    const before = mounts();
    const snapshot = {
      lowerDirs: ["layers/2", "layers/1", "other/3"].map((path) => join(base, path)),
      upperDir: join(base, "upper"),
      workDir: join(base, "work"),
    };
    using root = mountRoot(snapshot, { mappings, attachAt });
    expect(mounts()).toBe(before);
    for (const path of ["etc/passwd", "top", "bottom"]) {
      const { uid, gid } = statSync(`/proc/self/fd/${root.number}/${path}`);
      expect([path, uid, gid]).toEqual([path, 300_000, 400_000]);
    }
    writeFileSync(`/proc/self/fd/${root.number}/made`, "");
    expect(statSync(join(base, "upper/made")).uid).toBe(0);
  });
});

describe("the probe", () => {
  const scratch = () => mkdtempSync(join(dir, "probe-"));

  test("finds that this machine has what it takes, and leaves nothing", () => {
    const [directory, mountPoint, before] = [scratch(), scratch(), mounts()];
    const attachAt = takesDetachedLayers ? undefined : mountPoint;
    expect(probeUserNamespaces(directory, mountPoint)).toEqual({ supported: true, attachAt });
    expect(readdirSync(directory)).toEqual([]);
    expect(mounts()).toBe(before);
    expect(children()).toBe("");
  });

  test("says which file system cannot map ids", () => {
    const directory = scratch();
    syscall("mount", "none", directory, "ramfs", 0, null);
    try {
      const found = probeUserNamespaces(directory, scratch());
      expect(found).toMatchObject({
        supported: false,
        reason: expect.stringMatching(/^cannot map the ids of layers: .*EINVAL/),
      });
      expect(readdirSync(directory)).toEqual([]);
    } finally {
      syscall("umount2", directory, MNT_DETACH);
    }
  });

  test("attaches layers where the kernel takes no detached ones, and clears what a killed daemon left", () => {
    const [directory, mountPoint] = [scratch(), scratch()];
    syscall("mount", "none", mountPoint, "tmpfs", 0, null);
    const before = mounts();
    // As Linux before 6.15: an overlay is made only while something is attached.
    let attached = 0;
    let overlays = 0;
    const restore = replaceKernel((kernel) => ({
      call(name, args) {
        if (name === "fsopen" && args[0] === "overlay") overlays++;
        if (name === "move_mount") attached++;
        const isCreation = name === "fsconfig" && args[1] === 6 && overlays === 1 && attached === 0;
        return isCreation ? -22 : kernel.call(name, args);
      },
    }));
    try {
      expect(probeUserNamespaces(directory, mountPoint)).toEqual({ supported: true, attachAt: mountPoint });
    } finally {
      restore();
    }
    expect(attached).toBe(1);
    expect(before).toContain(mountPoint);
    expect(mounts()).not.toContain(mountPoint);
  });

  test("says that no user namespaces may be made", () => {
    const restore = replaceKernel((kernel) => ({
      call: (name, args) =>
        name === "openat" && String(args[1]).endsWith("uid_map") ? -1 : kernel.call(name, args),
    }));
    try {
      const found = probeUserNamespaces(scratch(), scratch());
      expect(found).toMatchObject({
        supported: false,
        reason: expect.stringMatching(/^cannot make a user namespace: .*EPERM/),
      });
    } finally {
      restore();
    }
    expect(children()).toBe("");
  });
});

/** The same table, but a process that has forked waits before it goes on. */
function slowAfterFork(table: Table): Table {
  const timespec = new Uint8Array(new BigInt64Array([0n, 200_000_000n]).buffer);
  return {
    name: table.name,
    step: table.step.bind(table),
    answer: table.answer.bind(table),
    fork(...fork) {
      const child = table.fork(...fork);
      table.step("wait", "nanosleep", [timespec, 0]);
      return child;
    },
  };
}

test("the exit of a child is heard, however late the process that made it comes to write its record", async () => {
  const tag = 7;
  const monitor = await startMonitor(mkdtempSync(join(dir, "pod-")), "test");
  try {
    const ended = new Promise<number>((resolve) => {
      monitor.onExit((of, { exit }) => of === tag && resolve(exit?.status ?? -1));
    });
    const program = newProgram("slow");
    const { main } = program;
    const slow = {
      ...program,
      main: {
        ...slowAfterFork(main),
        fork: (...fork: Parameters<Table["fork"]>) => slowAfterFork(main.fork(...fork)),
      },
    };
    using passed = newPassedFds();
    const of = passed.add(newUserNamespace(mappings));
    const cgroup = { joinTargets: [], directory: undefined };
    const join = { what: "the user namespace", of, flags: CLONE_NEWUSER };
    const child = forkChild(
      slow,
      {
        name: "child",
        tag,
        flags: CLONE_NEWPID | CLONE_NEWNS,
        cgroup,
        pidNamespace: undefined,
        join,
        prepare: () => {},
      },
      passed,
    );
    child.step("exit", "exit_group", [3]);
    await monitor.launch(program, passed.fds);
    expect(await Promise.race([ended, Bun.sleep(5000)])).toBe(3 << 8);
  } finally {
    await monitor.end();
    monitor.disconnect();
  }
});

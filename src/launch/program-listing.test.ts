// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { AT_FDCWD, O_CLOEXEC, O_PATH, openHow, RESOLVE_NO_XDEV } from "../linux/abi/fcntl.ts";
import { MOUNT_ATTR_RDONLY, mountAttr } from "../linux/abi/mount.ts";
import { CLONE_NEWNET, CLONE_NEWPID } from "../linux/abi/sched.ts";
import { newProgram } from "./program.ts";
import { listProgram } from "./program-listing.ts";

test("calls are listed with the names of flags, descriptors and answers, and without values of variables", () => {
  const program = newProgram("container a");
  const { main } = program;
  const how = openHow(O_PATH | O_CLOEXEC, 0, RESOLVE_NO_XDEV);
  const opened = main.answer("open it", "openat2", [AT_FDCWD, "/a b", how, how.length], {
    tolerate: ["ENOENT"],
  });
  main.step("join", "setns", [9, CLONE_NEWNET | CLONE_NEWPID]);
  const attributes = mountAttr(MOUNT_ATTR_RDONLY);
  main.step("make it read-only", "mount_setattr", [opened, "", 0x1000, attributes, attributes.length]);
  main.step("drop", "prctl", [24, 12, 0, 0, 0]);
  const child = main.fork("clone3", "child", new Uint8Array(new BigUint64Array([0x2000_0000n, 0n]).buffer));
  child.step("run", "execve", [
    "/x",
    program.stringArray(["/x", "y"]),
    program.stringArray(["SECRET=1", "B=2"]),
  ]);
  const [parent, forked] = listProgram(program, new Map([[9, "the pause"]]));
  expect(parent).toEqual({
    name: "container a",
    depth: 0,
    steps: [
      {
        name: "open it",
        call: 'openat2(AT_FDCWD, "/a b", {flags=O_PATH|O_CLOEXEC, resolve=RESOLVE_NO_XDEV}, 24)',
        answer: "$1",
        tolerates: ["ENOENT"],
      },
      { name: "join", call: "setns(fd of the pause, CLONE_NEWNET|CLONE_NEWPID)", tolerates: [] },
      {
        name: "make it read-only",
        call: 'mount_setattr($1, "", AT_EMPTY_PATH, {set=MOUNT_ATTR_RDONLY}, 32)',
        tolerates: [],
      },
      { name: "drop", call: "prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0)", tolerates: [] },
      { name: "clone3", call: "clone3({flags=CLONE_NEWPID}, 16)", tolerates: [] },
    ],
  });
  expect(forked).toEqual({
    name: "child",
    depth: 1,
    steps: [{ name: "run", call: 'execve("/x", ["/x","y"], [SECRET=…, B=…])', tolerates: [] }],
  });
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { newStdio } from "../../src/container/stdio.ts";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import type { SyscallName } from "../../src/linux/abi/syscall-numbers.ts";
import { replaceKernel } from "../../src/linux/syscall.ts";

const owner = { uid: 0, ttyGroup: 5, root: { uid: 0, gid: 0 } };
const CALLS: readonly SyscallName[] = ["fsmount", "fchownat", "openat", "ioctl", "fchown", "pipe2", "fcntl"];

test("a terminal of which any step fails leaves no descriptor open", () => {
  for (const failing of CALLS) {
    const before = readdirSync("/proc/self/fd").length;
    let calls = 0;
    const restore = replaceKernel((real) => ({
      call: (name, args) =>
        name === failing && calls++ === 0 ? -ERRNO.EMFILE : (real.call(name, args) as number),
    }));
    try {
      expect(() => newStdio({ tty: true, stdin: true }, 16, owner)).toThrow("EMFILE");
    } finally {
      restore();
    }
    expect([failing, readdirSync("/proc/self/fd").length]).toEqual([failing, before]);
  }
});

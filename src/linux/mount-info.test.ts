// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { ERRNO } from "./abi/errno.ts";
import { canChangeMountTrees, mountSharing } from "./mount-info.ts";
import { replaceKernel } from "./syscall.ts";

test("trees of mounts can be changed on this kernel, and not where the call is missing or forbidden", () => {
  expect(canChangeMountTrees()).toBe(true);
  for (const code of ["ENOSYS", "EPERM"] as const) {
    const putBack = replaceKernel((real) => ({
      call: (name, args) => (name === "mount_setattr" ? -ERRNO[code] : real.call(name, args)),
    }));
    try {
      expect(canChangeMountTrees()).toBe(false);
    } finally {
      putBack();
    }
  }
});

test("the sharing of a mount is that of the mount on which a path is, not of one above", () => {
  const lineAt = (point: string) =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .findLast((line) => line.split(" ")[4] === point) ?? "";
  for (const [path, point] of [
    ["/proc/self/status", "/proc"],
    ["/", "/"],
  ] as const) {
    const line = lineAt(point);
    expect(line).not.toBe("");
    expect(mountSharing(path)).toEqual({
      isShared: line.includes(" shared:"),
      isSlave: line.includes(" master:"),
    });
  }
  expect(() => mountSharing("/nowhere/at/all")).toThrow("ENOENT");
});

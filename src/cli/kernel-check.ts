// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { FailedPreconditionError } from "../errors.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { SyscallName } from "../linux/abi/syscall-numbers.ts";
import { isAtLeast } from "../linux/kernel-release.ts";
import { trySyscall } from "../linux/syscall.ts";

/** System calls that everything here stands on, and the kernel that brought each. */
const NEEDED: readonly (readonly [SyscallName, string])[] = [
  ["fsopen", "5.2"],
  ["move_mount", "5.2"],
  ["clone3", "5.3"],
  ["pidfd_open", "5.3"],
  ["openat2", "5.6"],
  ["close_range", "5.9"],
  ["mount_setattr", "5.12"],
];

/** overlayfs takes its layers one by one (`lowerdir+` of fsconfig(2)) from here on. */
const OVERLAY_SINCE = "6.5";

/** FailedPreconditionError naming the first thing that this kernel lacks. */
export function checkKernel(): void {
  for (const [name, since] of NEEDED) {
    // Arguments of all ones are refused by each of these calls before it does anything.
    if (trySyscall(name, -1, 0, -1, 0, 0, 0) === -ERRNO.ENOSYS) {
      throw new FailedPreconditionError(
        `this kernel has no ${name}(2): podrt needs Linux ${since} or later for it`,
      );
    }
  }
  if (!isAtLeast(release(), OVERLAY_SINCE)) {
    throw new FailedPreconditionError(
      `this kernel is ${release()}: podrt needs Linux ${OVERLAY_SINCE} or later for its overlay mounts`,
    );
  }
  if (!/\toverlay$/m.test(readFileSync("/proc/filesystems", "utf8"))) {
    throw new FailedPreconditionError(
      "this kernel has no overlay file system: load it with modprobe overlay",
    );
  }
}

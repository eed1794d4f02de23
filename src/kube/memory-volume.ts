// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { MNT_DETACH, MS_NODEV, MS_NOSUID } from "../linux/abi/mount.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

/**
 * Mounts a tmpfs on `path`, a directory, unless there is one: open to every user, or `group`'s. What is
 * in it counts against the memory limits of those who wrote it; `sizeBytes` bounds it, or else half
 * of the machine's memory (tmpfs(5)).
 */
export function mountMemoryVolume(
  path: string,
  sizeBytes: number | undefined,
  group: number | undefined,
): void {
  // A mount of an earlier boot is gone, its directory is not.
  if (statSync(path).dev !== statSync(dirname(path)).dev) return;
  const options = [
    group === undefined ? "mode=0777" : `mode=2777,gid=${group}`,
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
  ].join(",");
  syscall("mount", "tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options);
}

/** Detaches it; fine where it is not mounted, or was never made. */
export function unmountMemoryVolume(path: string): void {
  try {
    syscall("umount2", path, MNT_DETACH);
  } catch (error) {
    if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
  }
}

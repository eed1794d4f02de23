// SPDX-License-Identifier: Apache-2.0
import { O_DIRECTORY, O_RDONLY } from "./abi/fcntl.ts";
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL } from "./abi/fs.ts";
import { open } from "./fd.ts";
import { trySyscall } from "./syscall.ts";

/**
 * Tells ext4 that what lies in the directory at `path` belongs to trees that have nothing to do with each other (the
 * attribute `T` of chattr(1)): each is then put in a block group by itself, chosen by its name. Otherwise a new tree
 * goes where one was deleted a moment ago, and since ext4 gives no inode out again for some minutes, each new file
 * has to pass by all of those. Other file systems have no such attribute, and do as they did. True where it is set.
 */
export function spreadTrees(path: string): boolean {
  using directory = open(path, O_RDONLY | O_DIRECTORY);
  const flags = new Uint32Array(2);
  const bytes = new Uint8Array(flags.buffer);
  if (trySyscall("ioctl", directory.number, FS_IOC_GETFLAGS, bytes) < 0) return false;
  const [former = 0] = flags;
  if ((former & FS_TOPDIR_FL) !== 0) return true;
  flags[0] = former | FS_TOPDIR_FL;
  return trySyscall("ioctl", directory.number, FS_IOC_SETFLAGS, bytes) === 0;
}

// SPDX-License-Identifier: Apache-2.0
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../linux/abi/fcntl.ts";
import type { FileStatus } from "../linux/path.ts";
import { syscall } from "../linux/syscall.ts";
import type { Place } from "./apply-place.ts";
import type { TarEntry } from "./tar-entry.ts";
import { setXattrs } from "./xattr.ts";

export interface FileTimes {
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
}

const MODE_MASK = 0o7777;

/**
 * Owner, mode, attributes of an open file or directory, in the one order that works: changing the
 * owner clears setuid bits and capabilities.
 */
export function applyOwnerAndMode(fd: number, entry: TarEntry): void {
  syscall("fchown", fd, entry.uid, entry.gid);
  syscall("fchmod", fd, entry.mode);
  if (entry.xattrs.size > 0) setXattrs(fd, entry.xattrs);
}

/** Both times of an open file become its mtime; directories get theirs when nothing changes in them any more. */
export function applyTimes(fd: number, times: FileTimes): void {
  syscall("utimensat", fd, null, timespecs(times), 0);
}

/** Owner, mode and times of what cannot be opened without effect: devices, fifos, symbolic links. */
export function applyUnopened({ directoryFd, name }: Place, entry: TarEntry): void {
  syscall("fchownat", directoryFd, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW);
  // Links have no mode of their own, and fchmodat(2) would follow them.
  if (entry.type !== "symlink") syscall("fchmodat", directoryFd, name, entry.mode);
  syscall("utimensat", directoryFd, name, timespecs(entry), AT_SYMLINK_NOFOLLOW);
}

/** The same by a handle on it (O_PATH): for a directory in which others replace names meanwhile. */
export function applyByHandle(fd: number, entry: TarEntry): void {
  syscall("fchownat", fd, "", entry.uid, entry.gid, AT_EMPTY_PATH);
  if (entry.type !== "symlink") syscall("fchmodat", AT_FDCWD, `/proc/self/fd/${fd}`, entry.mode);
  syscall("utimensat", fd, "", timespecs(entry), AT_EMPTY_PATH);
}

/** Gives an open directory the owner and mode of another. */
export function applyStatus(fd: number, status: Pick<FileStatus, "uid" | "gid" | "mode">): void {
  syscall("fchownat", fd, "", status.uid, status.gid, AT_EMPTY_PATH);
  syscall("fchmod", fd, status.mode & MODE_MASK);
}

/** struct timespec[2] of utimensat(2): access and modification time. */
function timespecs({ mtimeSeconds, mtimeNanoseconds }: FileTimes): Uint8Array {
  const [seconds, nanoseconds] = [BigInt(mtimeSeconds), BigInt(mtimeNanoseconds)];
  return new Uint8Array(new BigInt64Array([seconds, nanoseconds, seconds, nanoseconds]).buffer);
}

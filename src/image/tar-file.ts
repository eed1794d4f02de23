// SPDX-License-Identifier: Apache-2.0
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "../linux/abi/stat.ts";
import type { Fd } from "../linux/fd.ts";
import { type FileStatus, readLink } from "../linux/path.ts";
import { listDirectory } from "../linux/tree.ts";
import type { TarEntry, TarEntryType } from "./tar-entry.ts";

// Files as members of an archive. Names are binary strings, as in a TarEntry.

const TYPES: Readonly<Record<number, TarEntryType>> = {
  [S_IFREG]: "file",
  [S_IFLNK]: "symlink",
  [S_IFCHR]: "char",
  [S_IFBLK]: "block",
  [S_IFDIR]: "directory",
  [S_IFIFO]: "fifo",
};
const MODE_MASK = 0o7777;

/** Undefined for a socket, which means nothing without its process. */
export function tarTypeOf({ mode }: FileStatus): TarEntryType | undefined {
  return TYPES[mode & S_IFMT];
}

/** An empty file with the owner, mode and time of the one looked at. */
export function memberOf(status: FileStatus, path: string): TarEntry {
  return {
    path,
    type: "file",
    linkPath: "",
    mode: status.mode & MODE_MASK,
    uid: status.uid,
    gid: status.gid,
    sizeBytes: 0,
    mtimeSeconds: Number(status.mtimeSeconds),
    mtimeNanoseconds: status.mtimeNanoseconds,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map(),
  };
}

/** What a link, device or fifo has beside that; `file` is open with O_PATH. */
export function memberDetails(type: TarEntryType, { rdev }: FileStatus, file: Fd): Partial<TarEntry> {
  if (type === "symlink") return { linkPath: Buffer.from(readLink(file.number)).toString("latin1") };
  const [deviceMajor = 0, deviceMinor = 0] = rdev.split(":").map(Number);
  return type === "fifo" ? {} : { deviceMajor, deviceMinor };
}

/** The paths of what is in an open directory. */
export function* namesIn(directory: Fd, prefix: string): Generator<string> {
  for (const name of listDirectory(directory)) {
    yield `${prefix}${Buffer.from(name.subarray(0, -1)).toString("latin1")}`;
  }
}

// SPDX-License-Identifier: Apache-2.0
import { S_IFDIR, S_IFMT } from "./abi/stat.ts";
import type { Fd } from "./fd.ts";
import { type FileStatus, statAt, statFd } from "./path.ts";
import { walkTree } from "./tree.ts";

/**
 * A short text that is the same as long as the tree below an open directory has the same names with the same types,
 * modes, owners, sizes, times of change and device numbers. It does not depend on the order in which a file system
 * lists names, nor on inode numbers, and no content is read: bytes that a disk changes by itself are not noticed.
 */
export function summarizeTree(directory: Fd): string {
  let entries = 1;
  let sum = Bun.hash(describe(statFd(directory.number))) as bigint;
  // Of the directories above what is being visited, the nearest last.
  const parents = [0n];
  walkTree(directory, {
    visit(fd, name) {
      const status = statAt(fd, name);
      const place = `${parents.at(-1)} ${Buffer.from(name).toString("latin1")}`;
      const hash = Bun.hash(`${place} ${describe(status)}`) as bigint;
      entries++;
      sum = BigInt.asUintN(64, sum + hash);
      if ((status.mode & S_IFMT) !== S_IFDIR) return "pass";
      parents.push(Bun.hash(place) as bigint);
      return "enter";
    },
    leave: () => void parents.pop(),
  });
  return `${entries} ${sum.toString(16).padStart(16, "0")}`;
}

/** Whole seconds, since some file systems forget the rest; a directory's size is its file system's affair. */
function describe({ mode, uid, gid, size, rdev, mtimeSeconds }: FileStatus): string {
  const isDirectory = (mode & S_IFMT) === S_IFDIR;
  return [mode, uid, gid, isDirectory ? 0 : size, rdev, mtimeSeconds].join(" ");
}

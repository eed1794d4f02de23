// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, O_PATH } from "../linux/abi/fcntl.ts";
import type { Fd } from "../linux/fd.ts";
import { mkdirAllInRoot, openInRoot, readLink } from "../linux/path.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

const S_IFREG = 0o100000;
const LINKS_LIMIT = 16;

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Makes a file for a bind mount at `path` below `root` where a symbolic link leads to nothing, as
 * /etc/resolv.conf does in images of systems that generate it. What the link names is made inside
 * the root, with `owner` as root's numbers; everything else is left to the launch program.
 */
export function makeLinkTarget(root: Fd, path: string, owner: Owner = { uid: 0, gid: 0 }): void {
  let at = path;
  for (let links = 0; links < LINKS_LIMIT; links++) {
    if (exists(root, at, 0)) return;
    if (!exists(root, at, O_NOFOLLOW)) {
      if (links > 0) makeFile(root, at, owner);
      return;
    }
    using link = openInRoot(root.number, at, O_PATH | O_NOFOLLOW);
    const target = new TextDecoder().decode(readLink(link.number));
    at = posix.resolve("/", posix.dirname(at), target);
  }
}

function exists(root: Fd, path: string, flags: number): boolean {
  try {
    openInRoot(root.number, path, O_PATH | flags).close();
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

function makeFile(root: Fd, path: string, { uid, gid }: Owner): void {
  const own = (directory: number, name: string) =>
    syscall("fchownat", directory, name, uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  using parent = mkdirAllInRoot(root.number, posix.dirname(path), 0o755, { made: (fd) => own(fd, "") });
  const name = posix.basename(path);
  syscall("mknodat", parent.number, name, S_IFREG | 0o644, 0);
  own(parent.number, name);
}

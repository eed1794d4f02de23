// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { posix } from "node:path";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../linux/abi/fcntl.ts";
import type { Fd } from "../linux/fd.ts";
import { mkdirAllInRoot, openInRoot, readLink } from "../linux/path.ts";
import { isErrno, syscall } from "../linux/syscall.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import { IMAGE_VOLUME, inMountOrder, SUB_PATH } from "./mounts.ts";

/*
 * Mount points that are made in a root before a launch. What is missing of them the launch program makes, but for the
 * targets of links.
 */

const S_IFREG = 0o100000;
const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;
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
  using parent = mkdirAllInRoot(root.number, posix.dirname(path), DIRECTORY_MODE, {
    made: (fd) => own(fd, ""),
  });
  const name = posix.basename(path);
  syscall("mknodat", parent.number, name, S_IFREG | FILE_MODE, 0);
  own(parent.number, name);
}

/** A place in the root itself where something is to be mounted. */
export interface MountPoint {
  readonly path: string;
  readonly isDirectory: boolean;
}

/**
 * Those of `mounts`, in the order in which they are mounted. Left out is what lies below another mount, what has a
 * path that is not the plain one, and what is mounted of a volume in which containers may change what it is.
 */
export function rootMountPoints(mounts: readonly RuntimeMount[]): MountPoint[] {
  const tops = mounts.map(({ destination }) => `${destination}/`);
  return inMountOrder(mounts).flatMap((mount) => {
    const { destination, options } = mount;
    const isBelow = tops.some((top) => destination.startsWith(top));
    const isPlain = posix.resolve("/", destination) === destination;
    if (isBelow || !isPlain || options.some((option) => option.startsWith(SUB_PATH))) return [];
    const isDirectory = mountsDirectory(mount);
    return isDirectory === undefined ? [] : [{ path: destination, isDirectory }];
  });
}

/** Undefined where the source of a bind is not there. */
function mountsDirectory({ type, source, options }: RuntimeMount): boolean | undefined {
  if (type !== "bind" || options.includes(IMAGE_VOLUME)) return true;
  return statSync(source, { throwIfNoEntry: false })?.isDirectory();
}

/** Makes those that are missing below `root` as a launch program does: links lead where they do in `root`. */
export function makeMountPoints(root: Fd, points: readonly MountPoint[]): void {
  for (const { path, isDirectory } of points) {
    if (isDirectory) makeDirectories(root, path);
    else {
      makeDirectories(root, posix.dirname(path));
      makeUnlessThere(root, path, FILE_MODE, (parent, name) =>
        syscall("mknodat", parent, name, S_IFREG | FILE_MODE, 0),
      );
    }
  }
}

/** Unlike `mkdirAllInRoot` it does not make what a dangling link names: a launch would not, either. */
function makeDirectories(root: Fd, path: string): void {
  if (path === "/") return;
  makeDirectories(root, posix.dirname(path));
  makeUnlessThere(root, path, DIRECTORY_MODE, (parent, name) =>
    syscall("mkdirat", parent, name, DIRECTORY_MODE),
  );
}

function makeUnlessThere(
  root: Fd,
  path: string,
  mode: number,
  make: (parent: number, name: string) => void,
): void {
  using parent = openInRoot(root.number, posix.dirname(path), O_PATH | O_DIRECTORY);
  const name = posix.basename(path);
  try {
    make(parent.number, name);
  } catch (error) {
    if (isErrno(error, "EEXIST")) return;
    throw error;
  }
  // The mode above has lost the bits of the daemon's umask.
  syscall("fchmodat", parent.number, name, mode);
}

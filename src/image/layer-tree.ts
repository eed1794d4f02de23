// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { S_IFDIR, S_IFLNK, S_IFMT } from "../linux/abi/stat.ts";
import { type Fd, open } from "../linux/fd.ts";
import { mkdirAllInRoot, openBeneath, openInRoot, statAt, statFd } from "../linux/path.ts";
import { isErrno, syscall } from "../linux/syscall.ts";
import { measureTree, removeTree } from "../linux/tree.ts";
import { applyStatus, applyTimes, type FileTimes } from "./apply-metadata.ts";
import { baseName, cBytes, type Place, parentPath } from "./apply-place.ts";
import { isWhiteout, type LowerLayers } from "./lower-layers.ts";
import { copyXattrs, setOpaque } from "./xattr.ts";

/**
 * The directory a layer is unpacked to. Every name is resolved beneath it by the kernel, links of the
 * layer's own followed as if it were `/`, so that nothing outside can be reached or made.
 */
export interface LayerTree extends Disposable {
  readonly rootFd: number;
  /** O_PATH descriptor of the directory `path`, made with what is above it where the layer did not list it. */
  directory(path: string): number;
  /** Where `path` is to be made; directories above it that the layer did not list are made as well. */
  place(path: string): Place;
  /** Where `path` is, should the directory above it exist. */
  existingPlace(path: string): Place | undefined;
  /** Deletes what is at a place, to make room. */
  clear(place: Place): void;
  /** Counts something that was made. */
  count(usedBytes: number): void;
  /** Sets this directory's times at the end, after all that will be made in it. */
  setTimesLater(path: string, times: FileTimes): void;
  /** Bounds what is remembered about the layer; `path` is about to be. */
  accountMemory(path: string): void;
  /** The top looks as in the layers below, unless the layer lists it; last, since those may be waited for. */
  copyRootFromBelow(): void;
  applyDirectoryTimes(): void;
  usage(): { sizeBytes: number; inodes: number };
}

const DIRECTORY_MODE = 0o755;
/** Root, but for tests without privileges. */
const OWN_USER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const MAX_OPEN_DIRECTORIES = 128;
const MEMORY_LIMIT_BYTES = 128 << 20;
const MAP_ENTRY_BYTES = 100;
export const DISK_BLOCK_BYTES = 4096;

/**
 * @param lower the layers below, where they are known: directories that the layer does not list are
 *   then made as those have them, instead of root's with mode 0755.
 * @param wasDeleted whether the layer deletes the lower layers' `path`.
 */
export function openLayerTree(
  targetDir: string,
  lower: LowerLayers | undefined,
  wasDeleted: (path: string) => boolean,
): LayerTree {
  const root = open(targetDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const directories = new Map<string, Fd>();
  const times = new Map<string, FileTimes>();
  let memoryBytes = 0;
  let usedBytes = 0;
  let inodes = 0;
  let last: { path: string; fd: number } | undefined;
  let pinned: Fd | undefined;
  let removedWhiteout = false;

  /** Names have changed their meaning: all are looked up anew. `inUse` stays open until the next time. */
  function forgetDirectories(inUse?: number): void {
    pinned?.close();
    pinned = undefined;
    for (const fd of directories.values()) {
      if (fd.number === inUse) pinned = fd;
      else fd.close();
    }
    directories.clear();
    last = undefined;
  }

  /**
   * Descriptors of the directories used last: archives list together what lies together. The one handed
   * out last is never closed here, so two places can be held at once.
   */
  function keep(path: string, fd: Fd): number {
    if (directories.size >= MAX_OPEN_DIRECTORIES) {
      const [oldest] = [...directories.keys()].filter((key) => key !== last?.path);
      if (oldest !== undefined) {
        directories.get(oldest)?.close();
        directories.delete(oldest);
      }
    }
    directories.set(path, fd);
    last = { path, fd: fd.number };
    return fd.number;
  }

  function cached(path: string): number | undefined {
    if (path === "") return root.number;
    if (last?.path === path) return last.fd;
    const fd = directories.get(path);
    if (fd === undefined) return undefined;
    directories.delete(path);
    return keep(path, fd);
  }

  function directory(path: string): number {
    return cached(path) ?? keep(path, findDirectory(path) ?? makeDirectories(path));
  }

  function findDirectory(path: string): Fd | undefined {
    try {
      return openInRoot(root.number, cBytes(path), O_PATH | O_DIRECTORY);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
      throw error;
    }
  }

  function makeDirectories(path: string): Fd {
    return mkdirAllInRoot(root.number, cBytes(path), DIRECTORY_MODE, {
      made: (fd, made) => completeImplicit(fd, Buffer.from(made).toString("latin1")),
      obstacle(directoryFd, name, status) {
        if (!isWhiteout(status)) return false;
        syscall("unlinkat", directoryFd, name, 0);
        inodes -= 1;
        removedWhiteout = true;
        return true;
      },
    });
  }

  /** A directory the layer uses but does not list looks as it did in the layers below. */
  function completeImplicit(fd: number, path: string): void {
    self.count(DISK_BLOCK_BYTES);
    using made = openBeneath(fd, ".", O_RDONLY | O_DIRECTORY);
    const isNew = wasDeleted(path) || removedWhiteout;
    removedWhiteout = false;
    if (isNew) setOpaque(made.number);
    if (isNew || !copyFromBelow(made, path)) {
      applyStatus(made.number, { ...OWN_USER, mode: DIRECTORY_MODE });
    }
  }

  function copyFromBelow(directory: Fd, path: string): boolean {
    using below = lower?.find(path);
    if (below === undefined) return false;
    const status = statFd(below.number);
    if ((status.mode & S_IFMT) !== S_IFDIR) return false;
    applyStatus(directory.number, status);
    using readable = openBeneath(below.number, ".", O_RDONLY | O_DIRECTORY);
    copyXattrs(readable.number, directory.number);
    const { mtimeSeconds, mtimeNanoseconds } = status;
    self.setTimesLater(path, { mtimeSeconds: Number(mtimeSeconds), mtimeNanoseconds });
    return true;
  }

  const self: LayerTree = {
    rootFd: root.number,
    directory,
    place: (path) => ({ path, directoryFd: directory(parentPath(path)), name: cBytes(baseName(path)) }),
    existingPlace(path) {
      const parent = parentPath(path);
      const found = cached(parent);
      if (found !== undefined) return { path, directoryFd: found, name: cBytes(baseName(path)) };
      const directory = findDirectory(parent);
      if (directory === undefined) return undefined;
      return { path, directoryFd: keep(parent, directory), name: cBytes(baseName(path)) };
    },
    clear({ directoryFd, name }) {
      const status = statAt(directoryFd, name);
      const type = status.mode & S_IFMT;
      if (type === S_IFDIR) {
        using directory = openBeneath(directoryFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        const removed = measureTree(directory);
        removeTree(directoryFd, name);
        usedBytes -= removed.usedBytes;
        inodes -= removed.inodes;
      } else {
        syscall("unlinkat", directoryFd, name, 0);
        if (status.nlink === 1) {
          usedBytes -= status.allocatedBytes;
          inodes -= 1;
        }
      }
      if (type === S_IFDIR || type === S_IFLNK) forgetDirectories(directoryFd);
    },
    count(bytes) {
      usedBytes += bytes;
      inodes += 1;
    },
    setTimesLater(path, { mtimeSeconds, mtimeNanoseconds }) {
      if (!times.delete(path)) self.accountMemory(path);
      times.set(path, { mtimeSeconds, mtimeNanoseconds });
    },
    accountMemory(path) {
      memoryBytes += path.length + MAP_ENTRY_BYTES;
      if (memoryBytes > MEMORY_LIMIT_BYTES) {
        throw new ResourceExhaustedError("the layer has too many directories and deletions with long names");
      }
    },
    copyRootFromBelow: () => void copyFromBelow(root, ""),
    applyDirectoryTimes() {
      for (const [path, directoryTimes] of times) setTimes(root, path, directoryTimes);
    },
    usage: () => ({ sizeBytes: Math.max(0, usedBytes), inodes: Math.max(0, inodes) }),
    [Symbol.dispose]() {
      forgetDirectories();
      root.close();
    },
  };
  return self;
}

function setTimes(root: Fd, path: string, times: FileTimes): void {
  try {
    using directory = openInRoot(root.number, cBytes(path || "."), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    applyTimes(directory.number, times);
  } catch (error) {
    // A later entry put something else in its place.
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
  }
}

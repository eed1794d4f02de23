// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { S_IFCHR, S_IFMT } from "../linux/abi/stat.ts";
import { Fd, open } from "../linux/fd.ts";
import { type FileStatus, openBeneath, statFd, tryOpenWithoutLinks } from "../linux/path.ts";
import { listDirectory } from "../linux/tree.ts";
import { cBytes, parentPath } from "./apply-place.ts";
import { isOpaque } from "./xattr.ts";

/** The layers below the one being unpacked, seen as overlayfs will stack them. */
export interface LowerLayers extends Disposable {
  /** An O_PATH descriptor of what is at `path` (not followed; "" is the top), or nothing; the caller closes it. */
  find(path: string): Fd | undefined;
  /** The names at the top of all layers, deleted ones too, as binary strings. */
  rootNames(): Set<string>;
}

/** Opens the layers' directories, top first, when something is looked up in them for the first time. */
export function openLowerLayers(findDirectories: () => readonly string[]): LowerLayers {
  const owned = new DisposableStack();
  let opened: readonly Fd[] | undefined;
  const roots = () => {
    opened ??= findDirectories().map((directory) => owned.use(open(directory, O_RDONLY | O_DIRECTORY)));
    return opened;
  };
  return {
    find: (path) => findIn(roots(), path),
    rootNames() {
      const names = new Set<string>();
      for (const root of roots()) {
        using reader = openBeneath(root.number, ".", O_RDONLY | O_DIRECTORY);
        for (const name of listDirectory(reader)) {
          names.add(Buffer.from(name.subarray(0, -1)).toString("latin1"));
        }
      }
      return names;
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** True for overlayfs's mark of a deleted name: a character device 0/0. */
export function isWhiteout(status: Pick<FileStatus, "mode" | "rdev">): boolean {
  return (status.mode & S_IFMT) === S_IFCHR && status.rdev === "0:0";
}

function findIn(roots: readonly Fd[], path: string): Fd | undefined {
  for (const root of roots) {
    const result = tryOpenWithoutLinks(root.number, cBytes(path || "."), O_PATH | O_NOFOLLOW);
    if (result >= 0) {
      const found = new Fd(result);
      if (!isWhiteout(statFd(found.number))) return found;
      found.close();
      return undefined;
    }
    // A file, a link or a deletion where a directory would have to be hides all that is further down.
    if (result !== -ERRNO.ENOENT || hasOpaqueAncestor(root, path)) return undefined;
  }
  return undefined;
}

function hasOpaqueAncestor(root: Fd, path: string): boolean {
  for (let ancestor = parentPath(path); ancestor !== ""; ancestor = parentPath(ancestor)) {
    const result = tryOpenWithoutLinks(root.number, cBytes(ancestor), O_RDONLY | O_DIRECTORY);
    if (result < 0) continue;
    using directory = new Fd(result);
    if (isOpaque(directory.number)) return true;
  }
  return false;
}

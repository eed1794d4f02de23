// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, UnimplementedError } from "../errors.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../linux/abi/fcntl.ts";
import { S_IFCHR, S_IFDIR, S_IFMT } from "../linux/abi/stat.ts";
import { openBeneath, tryStatAt } from "../linux/path.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import { baseName, type Place, parentPath } from "./apply-place.ts";
import type { LayerTree } from "./layer-tree.ts";
import { isWhiteout, type LowerLayers } from "./lower-layers.ts";
import { quoteName } from "./tar-entry.ts";
import { setOpaque } from "./xattr.ts";

/**
 * Deletions in a layer (image-spec layer.md "Whiteouts"), written the way overlayfs reads them.
 *
 * `.wh.NAME` deletes the lower layers' NAME, `.wh..wh..opq` all that they have in the directory. Both
 * are about lower layers only and may stand before or after the layer's own entries, so:
 * - a deletion of something this layer also has leaves that alone, and makes it opaque if a directory;
 * - an entry that comes where a deletion was put takes its place, opaque if a directory.
 */
export interface Whiteouts {
  /** True for a name that means a deletion (or a note of aufs's own, dropped), which has been dealt with. */
  apply(path: string, tree: LayerTree): boolean;
  /** Whether the layer deletes the lower layers' `path`. */
  deletes(path: string): boolean;
  /** What can only be done once all entries are there. */
  finish(tree: LayerTree): void;
}

const PREFIX = ".wh.";
const OPAQUE_NAME = ".wh..wh..opq";
const AUFS_PREFIX = ".wh..wh.";
const WHITEOUT_MODE = 0;

export function createWhiteouts(lower: LowerLayers | undefined): Whiteouts {
  const deleted = new Set<string>();
  const opaque = new Set<string>();

  function remember(set: Set<string>, path: string, tree: LayerTree): void {
    if (!set.has(path)) tree.accountMemory(path);
    set.add(path);
  }

  function hide(path: string, tree: LayerTree): void {
    const place = tree.place(path);
    const existing = tryStatAt(place.directoryFd, place.name);
    if (typeof existing === "number") {
      if (existing !== -ERRNO.ENOENT) throw new SyscallError("statx", -existing);
      if (isNeeded(path, lower)) makeWhiteout(place, tree);
    } else if ((existing.mode & S_IFMT) === S_IFDIR) {
      makeOpaque(place);
    }
    remember(deleted, path, tree);
  }

  function hideAll(directory: string, tree: LayerTree): void {
    remember(opaque, directory, tree);
    if (directory === "") return;
    using readable = openBeneath(tree.directory(directory), ".", O_RDONLY | O_DIRECTORY);
    setOpaque(readable.number);
  }

  /** Overlayfs stacks the top directories whatever their attributes, so there each name is deleted by itself. */
  function hideWholeRoot(tree: LayerTree): void {
    if (lower === undefined) {
      throw new UnimplementedError("the layer hides the whole root of layers that were not given to podrt");
    }
    for (const name of lower.rootNames()) hide(name, tree);
  }

  return {
    apply(path, tree) {
      const name = baseName(path);
      if (!name.startsWith(PREFIX)) return false;
      if (name === OPAQUE_NAME) hideAll(parentPath(path), tree);
      else if (!name.startsWith(AUFS_PREFIX)) hide(deletedPath(path, name), tree);
      return true;
    },
    deletes: (path) => deleted.has(path),
    finish(tree) {
      if (opaque.has("")) hideWholeRoot(tree);
      // Nothing is merged with an opaque directory: deletions below it would be listed as files.
      for (const path of pathsBelow(opaque, deleted)) removeWhiteout(path, tree);
    },
  };
}

function deletedPath(path: string, name: string): string {
  const target = name.slice(PREFIX.length);
  if (target === "" || target === "." || target === "..") {
    throw new InvalidArgumentError("", `entry ${quoteName(path)} deletes no name that can be`);
  }
  const parent = parentPath(path);
  return parent === "" ? target : `${parent}/${target}`;
}

/** Where no lower layer has the name, a deletion in a directory of this layer alone would be seen. */
function isNeeded(path: string, lower: LowerLayers | undefined): boolean {
  if (lower === undefined) return true;
  using found = lower.find(path);
  return found !== undefined;
}

function makeWhiteout({ directoryFd, name }: Place, tree: LayerTree): void {
  syscall("mknodat", directoryFd, name, S_IFCHR | WHITEOUT_MODE, 0);
  tree.count(0);
}

export function makeOpaque({ directoryFd, name }: Place): void {
  using directory = openBeneath(directoryFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  setOpaque(directory.number);
}

function removeWhiteout(path: string, tree: LayerTree): void {
  const place = tree.existingPlace(path);
  if (place === undefined) return;
  const status = tryStatAt(place.directoryFd, place.name);
  if (typeof status !== "number" && isWhiteout(status)) tree.clear(place);
}

/**
 * Those of `paths` that lie below one of `directories`. Sorted with a slash at the end, all that is below
 * a directory follows it, so one pass is enough however deep a hostile layer's names are.
 */
function pathsBelow(directories: ReadonlySet<string>, paths: ReadonlySet<string>): string[] {
  if (directories.size === 0) return [];
  const keys = [...new Set([...directories, ...paths])].map((path) => `${path}/`).sort();
  const below: string[] = [];
  let cover: string | undefined;
  for (const key of keys) {
    const path = key.slice(0, -1);
    if (cover !== undefined && key.startsWith(cover)) {
      if (paths.has(path)) below.push(path);
    } else {
      cover = path !== "" && directories.has(path) ? key : undefined;
    }
  }
  return below;
}

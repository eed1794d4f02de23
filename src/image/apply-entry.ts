// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import {
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
} from "../linux/abi/fcntl.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT } from "../linux/abi/stat.ts";
import { Fd, writeAll } from "../linux/fd.ts";
import { type FileStatus, openBeneath, tryStatAt } from "../linux/path.ts";
import { SyscallError, syscall, trySyscall } from "../linux/syscall.ts";
import { applyOwnerAndMode, applyTimes, applyUnopened } from "./apply-metadata.ts";
import { cBytes, cleanPath, entryError, type Place } from "./apply-place.ts";
import { DISK_BLOCK_BYTES, type LayerTree, openLayerTree } from "./layer-tree.ts";
import { isWhiteout, openLowerLayers } from "./lower-layers.ts";
import { quoteName, type TarEntry } from "./tar-entry.ts";
import type { TarSink } from "./tar-reader.ts";
import { createWhiteouts, makeOpaque, type Whiteouts } from "./whiteout.ts";

/** Writes a layer's entries to a directory, in the order they come, as root with the owners they name. */
export interface LayerWriter extends TarSink, Disposable {
  /** All entries are there: what must come last is done, and what the layer takes is told. */
  finish(): { sizeBytes: number; inodes: number };
}

export interface LayerWriterOptions {
  /** An existing directory; after an error its content is of no use. */
  readonly targetDir: string;
  /** Finds the directories of the layers below, top first, where there are any to know; asked when they are needed first. */
  readonly findLower?: (() => readonly string[]) | undefined;
}

/** Longest symbolic link whose target ext4 keeps in the inode itself. */
const FAST_SYMLINK_BYTES = 59;
const NEW_FILE_MODE = 0o600;
const NEW_DIRECTORY_MODE = 0o700;
const NEW_FILE_FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
const MAX_DEVICE_MAJOR = 0xfff;
const MAX_DEVICE_MINOR = 0xfffff;
const SPECIAL_TYPES = { char: S_IFCHR, block: S_IFBLK, fifo: S_IFIFO } as const;

/** The file whose content is being written. */
interface OpenFile {
  readonly fd: Fd;
  readonly entry: TarEntry;
}

export function createLayerWriter({ targetDir, findLower }: LayerWriterOptions): LayerWriter {
  using opened = new DisposableStack();
  const lower = findLower === undefined ? undefined : opened.use(openLowerLayers(findLower));
  const whiteouts = createWhiteouts(lower);
  const tree = opened.use(openLayerTree(targetDir, lower, whiteouts.deletes));
  const owned = opened.move();
  let file: OpenFile | undefined;
  let root: TarEntry | undefined;

  function begin(entry: TarEntry): void {
    const path = cleanPath(entry.path);
    if (path === "") root = rootEntry(entry);
    else if (whiteouts.apply(path, tree)) file = undefined;
    else if (entry.type === "file") file = { fd: createFile(tree, tree.place(path)), entry };
    else if (entry.type === "directory") createDirectory(tree, tree.place(path), entry, whiteouts);
    else if (entry.type === "symlink") createSymlink(tree, tree.place(path), entry);
    else if (entry.type === "hardlink") createHardLink(tree, path, entry);
    else createSpecial(tree, tree.place(path), entry, SPECIAL_TYPES[entry.type]);
  }

  function end(): void {
    if (file === undefined) return;
    const { entry } = file;
    using fd = file.fd;
    file = undefined;
    applyOwnerAndMode(fd.number, entry);
    applyTimes(fd.number, entry);
    tree.count(Math.ceil(entry.sizeBytes / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES);
  }

  function guarded(path: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      throw entryError(path, error);
    }
  }

  return {
    entry: (entry) => guarded(entry.path, () => begin(entry)),
    data(bytes) {
      if (file === undefined) return;
      const { fd, entry } = file;
      guarded(entry.path, () => writeAll(fd.number, bytes));
    },
    end: () => guarded(file?.entry.path ?? "", end),
    finish() {
      guarded("", () => {
        whiteouts.finish(tree);
        tree.copyRootFromBelow();
        if (root !== undefined) applyRoot(tree, root);
        tree.applyDirectoryTimes();
      });
      return tree.usage();
    },
    [Symbol.dispose]() {
      file?.fd.close();
      owned.dispose();
    },
  };
}

function rootEntry(entry: TarEntry): TarEntry {
  if (entry.type === "directory") return entry;
  throw new InvalidArgumentError("", `entry ${quoteName(entry.path)} is the root but no directory`);
}

function applyRoot(tree: LayerTree, entry: TarEntry): void {
  applyOwnerAndMode(tree.rootFd, entry);
  tree.setTimesLater("", entry);
}

/** Makes something at a place; what an earlier entry left there goes first. */
function replacing(tree: LayerTree, place: Place, step: string, make: () => number): number {
  let result = make();
  if (result === -ERRNO.EEXIST) {
    tree.clear(place);
    result = make();
  }
  if (result < 0) throw new SyscallError(step, -result);
  return result;
}

function createFile(tree: LayerTree, place: Place): Fd {
  const { directoryFd, name } = place;
  const make = () => trySyscall("openat", directoryFd, name, NEW_FILE_FLAGS, NEW_FILE_MODE);
  return new Fd(replacing(tree, place, "openat", make));
}

/** A directory that is there already keeps what is in it and takes the entry's owner, mode and times. */
function createDirectory(tree: LayerTree, place: Place, entry: TarEntry, whiteouts: Whiteouts): void {
  const { directoryFd, name } = place;
  const existing = tryStatAt(directoryFd, name);
  const isThere = typeof existing !== "number" && (existing.mode & S_IFMT) === S_IFDIR;
  if (!isThere) {
    replacing(tree, place, "mkdirat", () => trySyscall("mkdirat", directoryFd, name, NEW_DIRECTORY_MODE));
    tree.count(DISK_BLOCK_BYTES);
    const replacesWhiteout = typeof existing !== "number" && isWhiteout(existing);
    if (replacesWhiteout || whiteouts.deletes(place.path)) makeOpaque(place);
  }
  using directory = openBeneath(directoryFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  applyOwnerAndMode(directory.number, entry);
  tree.setTimesLater(place.path, entry);
}

function createSymlink(tree: LayerTree, place: Place, entry: TarEntry): void {
  const { directoryFd, name } = place;
  const target = cBytes(entry.linkPath);
  replacing(tree, place, "symlinkat", () => trySyscall("symlinkat", target, directoryFd, name));
  applyUnopened(place, entry);
  tree.count(entry.linkPath.length > FAST_SYMLINK_BYTES ? DISK_BLOCK_BYTES : 0);
}

/** Owner, mode and times are those of the file that gets another name: the entry's own are not looked at. */
function createHardLink(tree: LayerTree, path: string, entry: TarEntry): void {
  const place = tree.place(path);
  const existing = tryStatAt(place.directoryFd, place.name);
  const target = hardLinkTarget(tree, entry);
  // The same file under the same name again: clearing the place would delete what is to be linked.
  if (typeof existing !== "number") {
    if (existing.ino === target.status.ino && existing.dev === target.status.dev) return;
    tree.clear(place);
  }
  const { directoryFd, name } = hardLinkTarget(tree, entry).place;
  syscall("linkat", directoryFd, name, place.directoryFd, place.name, 0);
}

function hardLinkTarget(tree: LayerTree, entry: TarEntry): { place: Place; status: FileStatus } {
  const path = cleanPath(entry.linkPath);
  const place = path === "" ? undefined : tree.existingPlace(path);
  const status = place === undefined ? -ERRNO.ENOENT : tryStatAt(place.directoryFd, place.name);
  if (place !== undefined && typeof status !== "number") {
    if ((status.mode & S_IFMT) !== S_IFDIR) return { place, status };
    throw new InvalidArgumentError("", `entry ${quoteName(entry.path)} is a hard link to a directory`);
  }
  throw new InvalidArgumentError(
    "",
    `entry ${quoteName(entry.path)} is a hard link to ${quoteName(entry.linkPath)}, which the layer does not have before it`,
  );
}

function createSpecial(tree: LayerTree, place: Place, entry: TarEntry, type: number): void {
  const { deviceMajor: major, deviceMinor: minor } = entry;
  const isDeviceNumber = major >= 0 && major <= MAX_DEVICE_MAJOR && minor >= 0 && minor <= MAX_DEVICE_MINOR;
  if (entry.type !== "fifo" && !isDeviceNumber) {
    throw new InvalidArgumentError(
      "",
      `entry ${quoteName(entry.path)} has the device number ${major}:${minor}`,
    );
  }
  const device = entry.type === "fifo" ? 0 : encodeDevice(major, minor);
  const { directoryFd, name } = place;
  replacing(tree, place, "mknodat", () =>
    trySyscall("mknodat", directoryFd, name, type | NEW_FILE_MODE, device),
  );
  applyUnopened(place, entry);
  tree.count(0);
}

// new_encode_dev of include/linux/kdev_t.h.
function encodeDevice(major: number, minor: number): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

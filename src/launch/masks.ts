// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  F_DUPFD_CLOEXEC,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  openHow,
  RESOLVE_NO_MAGICLINKS,
} from "../linux/abi/fcntl.ts";
import {
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  mountAttr,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../linux/abi/mount.ts";
import { S_IFMT } from "../linux/abi/stat.ts";
import { Fd } from "../linux/fd.ts";
import { statFd } from "../linux/path.ts";
import { syscall } from "../linux/syscall.ts";
import { MONITOR_FD } from "./monitor.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Cell, Operand, Table } from "./program.ts";
import { mountFilesystem, openPath, type RootTree, withContext } from "./rootfs.ts";

/*
 * Masked and read-only paths, inside the entered root. An image, or a volume that another container
 * writes to, decides what is at such a path and at /dev/null. So no source is ever named by a path
 * of the container's, every path is resolved without /proc's magic links, and what is put over
 * a path is checked to be there.
 *
 * A path that does not exist is passed over: its descriptor is then an errno, and every step on it
 * ends with EBADF, which is tolerated.
 */

const MISSING = ["ENOENT", "ENOTDIR"] as const;
const NOT_OPEN = { tolerate: ["EBADF"] } as const;
const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
const CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
const DIRECTORY = openHow(O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
const READ_ONLY = mountAttr(MOUNT_ATTR_RDONLY);
const COVERED = mountAttr(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
const BY_DESCRIPTOR = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

/** What is in each directory of covers: the null device among those of files, an empty directory among the others. */
const COVER = "cover";

/** The directories of covers, out of the way of `eachOf`. */
const COVERS = { ofFiles: MONITOR_FD.spare, ofDirectories: MONITOR_FD.spare + 1 } as const;

/** So many paths are opened, five times each at most, before all that is closed at once. */
const PATHS_AT_ONCE = 16;

/**
 * Appends steps for each of `paths`. What they open gets low numbers, and is closed after some paths, with all that was
 * opened before: the child would run out of numbers.
 */
function eachOf(tree: RootTree, paths: readonly string[], append: (path: string) => void): void {
  const { low, request } = MONITOR_FD;
  paths.forEach((path, index) => {
    if (index % PATHS_AT_ONCE === 0) {
      tree.forget();
      tree.table.step("close what was opened", "close_range", [low, request - 1, 0]);
    }
    append(path);
  });
}

/**
 * Appends the steps that hide `paths`: a file behind the null device, a directory behind an empty one, which has
 * the SELinux context `label` where that is given.
 */
export function maskPaths(
  tree: RootTree,
  paths: readonly string[],
  passed: PassedFds,
  label: string | undefined,
): void {
  if (paths.length === 0) return;
  const { table } = tree;
  attachCovers(table, passed.add(openNullDevice()), label);
  eachOf(tree, paths, (path) => maskPath(table, path));
  table.step("leave the covers: enter them", "fchdir", [COVERS.ofFiles]);
  table.step("leave the covers: detach them", "umount2", [".", MNT_DETACH]);
  table.step("leave the covers: go to the root", "chdir", ["/"]);
}

/*
 * What is at a path is known only while the program runs, and the kernel waits a while for each copy of a mount
 * that is made and not used. So no copy is made but of the cover that fits: `source` is open where something is at the
 * path, and leads to the covers of files; but where the path could be opened as a directory, to those of directories.
 */

function maskPath(table: Table, path: string): void {
  const called = (what: string) => `mask ${path}: ${what}`;
  const directory = openDirectory(table, path);
  const target = openPath(table, path, called("open it"), MISSING);
  const duplicate = [target, F_DUPFD_CLOEXEC, 0];
  const source = table.answer(called("see whether it is there"), "fcntl", duplicate, NOT_OPEN);
  const leadTo = (what: string, descriptor: Cell, covers: Operand) =>
    table.step(called(what), "dup3", [covers, descriptor, O_CLOEXEC], NOT_OPEN);
  leadTo("take the covers of files", source, COVERS.ofFiles);
  leadTo("see whether it is a directory", directory, COVERS.ofDirectories);
  leadTo("take the covers of directories then", source, directory);
  const copy = table.answer(called("copy the cover"), "open_tree", [source, COVER, CLONE], NOT_OPEN);
  table.step(called("attach it"), "move_mount", [copy, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
  // Only the root of a mount has attributes: what is not covered fails here with EINVAL.
  const top = openPath(table, path, called("open what covers it"), MISSING);
  setAttributes(table, top, COVERED, called("see that it is covered"));
}

function openDirectory(table: Table, path: string): Cell {
  const name = `mask the directory ${path}: open it as a directory`;
  const operands = [AT_FDCWD, path, DIRECTORY, DIRECTORY.length];
  return table.answer(name, "openat2", operands, { tolerate: MISSING });
}

/** Appends the steps that make what is at `paths` read-only; what is mounted below them keeps its own flags. */
export function makeReadOnly(tree: RootTree, paths: readonly string[]): void {
  const { table } = tree;
  eachOf(tree, paths, (path) => {
    const name = `make ${path} read-only`;
    const target = openPath(table, path, `${name}: open it`, MISSING);
    const flags = CLONE | AT_EMPTY_PATH | AT_RECURSIVE;
    const copy = table.answer(`${name}: copy its mount`, "open_tree", [target, "", flags], NOT_OPEN);
    setAttributes(table, copy, READ_ONLY, name);
    table.step(`${name}: attach it`, "move_mount", [copy, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
  });
}

function setAttributes(table: Table, mount: Cell, attributes: Uint8Array, name: string): void {
  const operands = [mount, "", AT_EMPTY_PATH, attributes, attributes.length];
  table.step(name, "mount_setattr", operands, NOT_OPEN);
}

/**
 * Appends a file system with the covers, attached above the root so that its mounts can be copied: the kernel copies
 * only what is attached. Nothing that begins at the root sees it.
 */
function attachCovers(table: Table, nullDevice: Operand, label: string | undefined): void {
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  // A label of its own makes an inode count for more than one.
  const options = withContext(["mode=0755", "nr_inodes=16"], label);
  const covers = mountFilesystem(table, "tmpfs", options, attributes);
  table.step("keep the covers of files", "dup3", [covers, COVERS.ofFiles, O_CLOEXEC]);
  table.step("make a place for the null cover", "mknodat", [covers, COVER, S_IFREG | 0o444, 0]);
  table.step("make a place for the covers of directories", "mkdirat", [covers, "directories", 0o755]);
  table.step("make the empty cover", "mkdirat", [covers, `directories/${COVER}`, 0o755]);
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const ofDirectories = table.answer("open them", "openat", [covers, "directories", flags, 0]);
  table.step("keep the covers of directories", "dup3", [ofDirectories, COVERS.ofDirectories, O_CLOEXEC]);
  table.step("attach the covers", "move_mount", [covers, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH]);
  table.step("attach the null cover", "move_mount", [nullDevice, "", covers, COVER, MOVE_MOUNT_F_EMPTY_PATH]);
}

/** The host's /dev/null as a detached mount, known to be the null device. */
function openNullDevice(): Fd {
  const device = new Fd(syscall("open_tree", AT_FDCWD, "/dev/null", CLONE));
  const { mode, rdev } = statFd(device.number);
  if ((mode & S_IFMT) === S_IFCHR && rdev === "1:3") return device;
  device.close();
  throw new FailedPreconditionError("cannot mask paths: the host's /dev/null is not the null device (1:3)");
}

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
import type { PassedFds } from "./passed-fds.ts";
import type { Cell, Operand, Table } from "./program.ts";
import { mountFilesystem, openPath, withContext } from "./rootfs.ts";

/*
 * Masked and read-only paths, inside the entered root. An image, or a volume that another container
 * writes to, decides what is at such a path and at /dev/null. So no source is ever named by a path
 * of the container's, every path is resolved once without /proc's magic links, and what is put over
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
const BY_DESCRIPTOR = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

/**
 * Appends the steps that hide `paths`: a file behind the null device, a directory behind an empty one, which has
 * the SELinux context `label` where that is given.
 */
export function maskPaths(
  table: Table,
  paths: readonly string[],
  passed: PassedFds,
  label: string | undefined,
): void {
  if (paths.length === 0) return;
  const covers = attachCovers(table, passed.add(openNullDevice()), label);
  for (const path of paths) {
    coverDirectory(table, covers, path);
    coverFile(table, covers, path);
    // Only the root of a mount has attributes: what is not covered fails here with EINVAL.
    const top = openPath(table, path, `mask ${path}: open what covers it`, MISSING);
    const readOnly = mountAttr(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    setAttributes(table, top, readOnly, `mask ${path}: see that it is covered`);
    closeAll(table, path, [top]);
  }
  table.step("leave the covers: enter them", "fchdir", [covers]);
  table.step("leave the covers: detach them", "umount2", [".", MNT_DETACH]);
  table.step("leave the covers: go to the root", "chdir", ["/"]);
}

/*
 * What is at a path is known only while the program runs, and the kernel waits a while for each copy of a mount
 * that is made and not used. So no copy is made but of the cover that fits: its source is opened for the one case,
 * and a number that is not open for the other.
 */

function coverDirectory(table: Table, covers: Cell, path: string): void {
  const name = `mask the directory ${path}`;
  const target = openDirectory(table, path, name);
  const source = sourceFor(table, name, target, covers);
  const copy = table.answer(`${name}: copy the cover`, "open_tree", [source, "empty", CLONE], NOT_OPEN);
  table.step(name, "move_mount", [copy, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
  closeAll(table, path, [target, source, copy]);
}

/** Comes after `coverDirectory`: a directory at `path` is the empty cover by now, in which there is no null device. */
function coverFile(table: Table, covers: Cell, path: string): void {
  const name = `mask the file ${path}`;
  const target = openPath(table, path, `${name}: open it`, MISSING);
  const source = sourceFor(table, name, target, covers);
  const directory = openDirectory(table, path, name);
  table.step(`${name}: unless it is a directory`, "dup3", [directory, source, O_CLOEXEC], NOT_OPEN);
  const copy = table.answer(`${name}: copy the cover`, "open_tree", [source, "null", CLONE], {
    tolerate: ["EBADF", "ENOENT"],
  });
  table.step(name, "move_mount", [copy, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
  closeAll(table, path, [target, source, directory, copy]);
}

function openDirectory(table: Table, path: string, name: string): Cell {
  const how = openHow(O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
  const operands = [AT_FDCWD, path, how, how.length];
  return table.answer(`${name}: open it as a directory`, "openat2", operands, { tolerate: MISSING });
}

/** Appends steps to a descriptor of `covers` where `target` is open, and to an errno where it is not. */
function sourceFor(table: Table, name: string, target: Cell, covers: Cell): Cell {
  const source = table.answer(
    `${name}: see whether it is there`,
    "fcntl",
    [target, F_DUPFD_CLOEXEC, 0],
    NOT_OPEN,
  );
  table.step(`${name}: go to the covers`, "dup3", [covers, source, O_CLOEXEC], NOT_OPEN);
  return source;
}

/** Appends the steps that make what is at `paths` read-only; what is mounted below them keeps its own flags. */
export function makeReadOnly(table: Table, paths: readonly string[]): void {
  for (const path of paths) {
    const name = `make ${path} read-only`;
    const target = openPath(table, path, `${name}: open it`, MISSING);
    const flags = CLONE | AT_EMPTY_PATH | AT_RECURSIVE;
    const copy = table.answer(`${name}: copy its mount`, "open_tree", [target, "", flags], NOT_OPEN);
    setAttributes(table, copy, mountAttr(MOUNT_ATTR_RDONLY), name);
    table.step(`${name}: attach it`, "move_mount", [copy, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
    closeAll(table, path, [copy, target]);
  }
}

function setAttributes(table: Table, mount: Cell, attributes: Uint8Array, name: string): void {
  const operands = [mount, "", AT_EMPTY_PATH, attributes, attributes.length];
  table.step(name, "mount_setattr", operands, NOT_OPEN);
}

function closeAll(table: Table, path: string, descriptors: readonly Cell[]): void {
  for (const descriptor of descriptors) table.step(`close ${path}`, "close", [descriptor], NOT_OPEN);
}

/**
 * Appends a file system with a directory `empty` and the null device as `null`, attached above the root so that
 * its mounts can be copied: the kernel copies only what is attached. Nothing that begins at the root sees it.
 */
function attachCovers(table: Table, nullDevice: Operand, label: string | undefined): Cell {
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  // A label of its own makes an inode count for more than one.
  const options = withContext(["mode=0755", "nr_inodes=16"], label);
  const covers = mountFilesystem(table, "tmpfs", options, attributes);
  table.step("make the empty cover", "mkdirat", [covers, "empty", 0o755]);
  table.step("make a place for the null cover", "mknodat", [covers, "null", S_IFREG | 0o444, 0]);
  table.step("attach the covers", "move_mount", [covers, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH]);
  table.step("attach the null cover", "move_mount", [
    nullDevice,
    "",
    covers,
    "null",
    MOVE_MOUNT_F_EMPTY_PATH,
  ]);
  return covers;
}

/** The host's /dev/null as a detached mount, known to be the null device. */
function openNullDevice(): Fd {
  const device = new Fd(syscall("open_tree", AT_FDCWD, "/dev/null", CLONE));
  const { mode, rdev } = statFd(device.number);
  if ((mode & S_IFMT) === S_IFCHR && rdev === "1:3") return device;
  device.close();
  throw new FailedPreconditionError("cannot mask paths: the host's /dev/null is not the null device (1:3)");
}

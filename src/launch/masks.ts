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
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_PRIVATE,
  MS_UNBINDABLE,
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
import type { Cell, Operand, StepOptions, Table } from "./program.ts";
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
/** Of a mount that cannot be copied, and of dup3(2) from an errno to the same. */
const NOT_YET = { tolerate: ["EBADF", "EINVAL"] } as const;
const S_IFCHR = 0o020000;
const CLONE = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
const DIRECTORY = openHow(O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
const READ_ONLY = mountAttr(MOUNT_ATTR_RDONLY);
const UNBINDABLE = mountAttr(0, 0, MS_UNBINDABLE);
const COVERED = mountAttr(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, MS_PRIVATE);
const BY_DESCRIPTOR = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

/** So many paths are opened, four times each at most, before all that is closed at once. */
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
  const covers = makeCovers(table, passed.add(openNullDevice()), label);
  eachOf(tree, paths, (path) => maskPath(table, covers, path));
  // Only when all are covered: a cover that could not be copied would have been taken away from the path before.
  eachOf(tree, paths, (path) => {
    // Only the root of a mount has attributes: what is not covered fails here with EINVAL.
    const top = openPath(table, path, `mask ${path}: open what covers it`, MISSING);
    setAttributes(table, top, COVERED, `mask ${path}: see that it is covered`);
  });
}

/** Two detached mounts that nobody can copy: the null device, and a file system with nothing in it. */
interface Covers {
  readonly file: number;
  readonly directory: Cell;
}

/*
 * What is at a path is known only while the program runs, and the kernel waits a while for each mount that is made and
 * not used. So `source` is open only where something is at the path: as the cover of files, or, where the path could
 * be opened as a directory, as that of directories. The first path of each kind gets the cover itself, which can be copied
 * from then on; the others get copies.
 */

function maskPath(table: Table, { file, directory }: Covers, path: string): void {
  const called = (what: string) => `mask ${path}: ${what}`;
  const isDirectory = openDirectory(table, path);
  const target = openPath(table, path, called("open it"), MISSING);
  const duplicate = [target, F_DUPFD_CLOEXEC, 0];
  const source = table.answer(called("see whether it is there"), "fcntl", duplicate, NOT_OPEN);
  const replace = (what: string, old: Cell, by: Operand, options: StepOptions = NOT_OPEN) =>
    table.step(called(what), "dup3", [by, old, O_CLOEXEC], options);
  replace("take the cover of files", source, file);
  replace("see whether it is a directory", isDirectory, directory);
  replace("take the cover of directories then", source, isDirectory);
  const flags = CLONE | AT_EMPTY_PATH;
  const copy = table.answer(called("copy the cover"), "open_tree", [source, "", flags], NOT_YET);
  replace("take the copy, if there is one", source, copy, NOT_YET);
  table.step(called("attach it"), "move_mount", [source, "", target, "", BY_DESCRIPTOR], NOT_OPEN);
  setAttributes(table, source, COVERED, called("let nobody write to it"));
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

function makeCovers(table: Table, file: number, label: string | undefined): Covers {
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const options = withContext(["mode=0755", "nr_inodes=1"], label);
  const empty = mountFilesystem(table, "tmpfs", options, attributes);
  // Out of the way of `eachOf`.
  const keep = [empty, F_DUPFD_CLOEXEC, MONITOR_FD.spare];
  const directory = table.answer("keep the cover of directories", "fcntl", keep);
  for (const cover of [file, directory]) {
    const operands = [cover, "", AT_EMPTY_PATH, UNBINDABLE, UNBINDABLE.length];
    table.step("let no cover be copied before it is attached", "mount_setattr", operands);
  }
  return { file, directory };
}

/** The host's /dev/null as a detached mount, known to be the null device. */
function openNullDevice(): Fd {
  const device = new Fd(syscall("open_tree", AT_FDCWD, "/dev/null", CLONE));
  const { mode, rdev } = statFd(device.number);
  if ((mode & S_IFMT) === S_IFCHR && rdev === "1:3") return device;
  device.close();
  throw new FailedPreconditionError("cannot mask paths: the host's /dev/null is not the null device (1:3)");
}

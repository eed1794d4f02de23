// SPDX-License-Identifier: Apache-2.0
import type { ErrnoName } from "../linux/abi/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  openHow,
  RESOLVE_NO_MAGICLINKS,
} from "../linux/abi/fcntl.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MNT_DETACH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_PRIVATE,
  MS_REC,
} from "../linux/abi/mount.ts";
import { Fd } from "../linux/fd.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import type { Cell, Operand, Table } from "./program.ts";

/*
 * The root of a container. The daemon makes the overlay as a detached mount: it belongs to a
 * descriptor, not to a place in the host's tree, so nothing is left to unmount when a daemon or a
 * launch dies. The child attaches it inside its own mount namespace, makes it the root, and only
 * then resolves any name of the container's: from there on no path leads out.
 */

/** The overlay of `lowerDirs` (top first), with `upperDir` and `workDir`, as a detached mount. */
export function mountOverlay(layers: {
  lowerDirs: readonly string[];
  upperDir: string;
  workDir: string;
}): Fd {
  using context = new Fd(syscall("fsopen", "overlay", FSOPEN_CLOEXEC));
  const configure = (key: string, value: string) => {
    try {
      syscall("fsconfig", context.number, FSCONFIG_SET_STRING, key, value, 0);
    } catch (error) {
      throw error instanceof SyscallError
        ? new SyscallError(`mount overlay, ${key}`, error.errno, value)
        : error;
    }
  };
  for (const directory of layers.lowerDirs) configure("lowerdir+", directory);
  configure("upperdir", layers.upperDir);
  configure("workdir", layers.workDir);
  syscall("fsconfig", context.number, FSCONFIG_CMD_CREATE, null, null, 0);
  return new Fd(syscall("fsmount", context.number, FSMOUNT_CLOEXEC, 0));
}

/** Appends the steps that make a new file system as a detached mount; the answer is its descriptor. */
export function mountFilesystem(
  table: Table,
  type: string,
  options: readonly string[],
  attributes: number,
): Cell {
  const what = `mount ${type}`;
  const context = table.answer(`${what}: open it`, "fsopen", [type, FSOPEN_CLOEXEC]);
  for (const option of options) {
    const [key = option, value] = splitOnce(option);
    const step: readonly Operand[] =
      value === undefined
        ? [context, FSCONFIG_SET_FLAG, key, 0, 0]
        : [context, FSCONFIG_SET_STRING, key, value, 0];
    table.step(`${what}: option ${option}`, "fsconfig", step);
  }
  table.step(`${what}: create it`, "fsconfig", [context, FSCONFIG_CMD_CREATE, 0, 0, 0]);
  return table.answer(what, "fsmount", [context, FSMOUNT_CLOEXEC, attributes]);
}

function splitOnce(option: string): [string, string?] {
  const at = option.indexOf("=");
  return at < 0 ? [option] : [option.slice(0, at), option.slice(at + 1)];
}

/**
 * Appends the steps that make the detached mount `root` the root of this mount namespace and forget
 * the old one. `mountPoint` is any empty directory of the host's: the mount on it is seen by this
 * namespace only.
 */
export function enterRoot(table: Table, root: Operand, mountPoint: string): void {
  table.step("make all mounts private", "mount", [0, "/", 0, MS_REC | MS_PRIVATE, 0]);
  const oldRoot = table.answer("open the host's root", "openat", [
    AT_FDCWD,
    "/",
    O_PATH | O_DIRECTORY | O_CLOEXEC,
    0,
  ]);
  table.step(`attach the root file system on ${mountPoint}`, "move_mount", [
    root,
    "",
    AT_FDCWD,
    mountPoint,
    MOVE_MOUNT_F_EMPTY_PATH,
  ]);
  table.step("enter the root file system", "fchdir", [root]);
  table.step("pivot_root", "pivot_root", [".", "."]);
  // Both roots are now stacked on /; the old one is addressed through its descriptor to be detached.
  table.step("go to the host's root", "fchdir", [oldRoot]);
  table.step("detach the host's root", "umount2", [".", MNT_DETACH]);
  table.step("go to the new root", "chdir", ["/"]);
}

const RESOLVE = openHow(O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);

/** Appends an open of `path` that no link into /proc can lead astray. */
export function openPath(
  table: Table,
  path: string,
  name = `open ${path}`,
  tolerate: readonly ErrnoName[] = [],
): Cell {
  return table.answer(name, "openat2", [AT_FDCWD, path, RESOLVE, RESOLVE.length], { tolerate });
}

/** The tree below the entered root while a program is compiled: what it has made and opened so far. */
export interface RootTree {
  readonly table: Table;
  /** Appends what is missing for a directory at `path` and above it to exist. */
  makeDirectories(path: string): void;
  /** Appends what is missing for a file at `path` to exist, and the directories above it. */
  makeFile(path: string): void;
  /** An O_PATH descriptor of `path`, which exists; opened once, unless a mount has covered it since. */
  open(path: string): Cell;
  /** Appends the attachment of the detached mount `mount` on `path`, which exists. */
  attach(mount: Operand, path: string, name: string): void;
  /** Forgets what is known: a mount at a path that an image may have made a link covers who knows what. */
  forget(): void;
}

/** Each directory is made and opened once: mount points share most of their way. */
export function rootTree(table: Table): RootTree {
  const made = new Set<string>(["/"]);
  const opened = new Map<string, Cell>();
  const open = (path: string): Cell => {
    const known = opened.get(path);
    if (known !== undefined) return known;
    const cell = openPath(table, path);
    opened.set(path, cell);
    return cell;
  };
  const makeDirectories = (path: string): void => {
    if (made.has(path)) return;
    const { parent, name } = splitPath(path);
    makeDirectories(parent);
    table.step(`make directory ${path}`, "mkdirat", [open(parent), name, 0o755], { tolerate: ["EEXIST"] });
    made.add(path);
  };
  return {
    table,
    open,
    makeDirectories: (path) => makeDirectories(normalPath(path)),
    makeFile(path) {
      const { parent, name } = splitPath(normalPath(path));
      makeDirectories(parent);
      const S_IFREG = 0o100000;
      table.step(`make file ${path}`, "mknodat", [open(parent), name, S_IFREG | 0o644, 0], {
        tolerate: ["EEXIST"],
      });
    },
    forget() {
      opened.clear();
      made.clear();
      made.add("/");
    },
    attach(mount, path, name) {
      const target = open(normalPath(path));
      table.step(name, "move_mount", [
        mount,
        "",
        target,
        "",
        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
      ]);
      // What was made or opened at and below this path is underneath the mount now.
      const isCovered = (known: string) =>
        known === normalPath(path) || known.startsWith(`${normalPath(path)}/`);
      for (const known of [...opened.keys()]) if (isCovered(known)) opened.delete(known);
      for (const known of [...made]) if (known !== normalPath(path) && isCovered(known)) made.delete(known);
    },
  };
}

function normalPath(path: string): string {
  return `/${path
    .split("/")
    .filter((part) => part !== "")
    .join("/")}`;
}

function splitPath(path: string): { parent: string; name: string } {
  const at = path.lastIndexOf("/");
  return { parent: path.slice(0, at) || "/", name: path.slice(at + 1) };
}

/** Appends mount_setattr(2) on the mount at `path`. */
export function setMountAttributes(table: Table, path: string, attributes: Uint8Array, name: string): void {
  table.step(name, "mount_setattr", [AT_FDCWD, path, 0, attributes, attributes.length]);
}

/** The same on a detached mount that a descriptor names. */
export function setDetachedAttributes(mount: Fd, attributes: Uint8Array, flags: number): void {
  syscall("mount_setattr", mount.number, "", AT_EMPTY_PATH | flags, attributes, attributes.length);
}

// SPDX-License-Identifier: Apache-2.0
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
export function openPath(table: Table, path: string, name = `open ${path}`): Cell {
  return table.answer(name, "openat2", [AT_FDCWD, path, RESOLVE, RESOLVE.length]);
}

/** Appends the steps that make every missing directory on the way to and including `path`. */
export function makeDirectories(table: Table, path: string, mode = 0o755): void {
  const parts = path.split("/").filter((part) => part !== "");
  parts.forEach((part, index) => {
    const parent = openPath(table, `/${parts.slice(0, index).join("/")}`);
    table.step(`make directory /${parts.slice(0, index + 1).join("/")}`, "mkdirat", [parent, part, mode], {
      tolerate: ["EEXIST"],
    });
  });
}

/** Appends the steps that make an empty file at `path`, and its directories, unless something is there. */
export function makeFile(table: Table, path: string): void {
  const S_IFREG = 0o100000;
  const at = path.lastIndexOf("/");
  makeDirectories(table, path.slice(0, at));
  const parent = openPath(table, path.slice(0, at) || "/");
  table.step(`make file ${path}`, "mknodat", [parent, path.slice(at + 1), S_IFREG | 0o644, 0], {
    tolerate: ["EEXIST"],
  });
}

/** Appends the steps that attach the detached mount `mount` on what exists at `path`. */
export function attachMount(table: Table, mount: Operand, path: string, name = `mount on ${path}`): void {
  const target = openPath(table, path, `${name}: find the mount point`);
  table.step(name, "move_mount", [mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH]);
}

/** Appends mount_setattr(2) on the mount at `path`. */
export function setMountAttributes(
  table: Table,
  path: string,
  attributes: Uint8Array,
  name: string,
  flags = 0,
  tolerate: readonly ("ENOENT" | "EINVAL" | "ENOTDIR")[] = [],
): void {
  table.step(name, "mount_setattr", [AT_FDCWD, path, flags, attributes, attributes.length], { tolerate });
}

/** The same on a detached mount that a descriptor names. */
export function setDetachedAttributes(mount: Fd, attributes: Uint8Array, flags: number): void {
  syscall("mount_setattr", mount.number, "", AT_EMPTY_PATH | flags, attributes, attributes.length);
}

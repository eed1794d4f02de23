// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import type { ErrnoName } from "../linux/abi/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  openHow,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from "../linux/abi/fcntl.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  MS_PRIVATE,
  MS_REC,
  mountAttr,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../linux/abi/mount.ts";
import { CLONE_NEWNS } from "../linux/abi/sched.ts";
import { Fd } from "../linux/fd.ts";
import { SyscallError, syscall } from "../linux/syscall.ts";
import type { Recipient } from "./passed-fds.ts";
import type { Cell, Operand, Program, Table } from "./program.ts";

/*
 * The root of a container. The daemon makes the overlay as a detached mount: it belongs to a
 * descriptor, not to a place in the host's tree, so nothing is left to unmount when a daemon or a
 * launch dies. The child attaches it inside its own mount namespace, makes it the root, and only
 * then resolves any name of the container's: from there on no path leads out.
 */

/** The option that gives everything in a file system one SELinux context (mount(8)). */
export function contextOption(label: string): string {
  return `${CONTEXT}${label}`;
}

export const CONTEXT = "context=";

/** `options` with that one, where there is a label. */
export function withContext(options: readonly string[], label: string | undefined): readonly string[] {
  return label === undefined ? options : [...options, contextOption(label)];
}

/** The directories of an overlay. */
export interface OverlayDirectories {
  /** Top first. */
  readonly lowerDirs: readonly string[];
  readonly upperDir: string;
  readonly workDir: string;
}

/**
 * The overlay of `layers` as a detached mount, with an SELinux context where `label` is given.
 *
 * It is volatile (Documentation/filesystems/overlayfs.rst): without that the end of a container, which takes the
 * last reference to its root along, waits until the kernel has written the whole file system of `upperDir` to the
 * disk, other containers' files too. What a container writes to its root needs to outlast no power loss: it never
 * runs again.
 */
export function mountOverlay({ lowerDirs, upperDir, workDir }: OverlayDirectories, label?: string): Fd {
  forgetVolatileMount(workDir);
  const options = [...lowerOptions(lowerDirs), `upperdir=${upperDir}`, `workdir=${workDir}`, "volatile"];
  return newFilesystem("overlay", withContext(options, label), 0);
}

/**
 * Takes away the mark by which the kernel refuses a second mount, since the machine may have lost power after the
 * first. Here it has not: a daemon ended between the creation of a container and its start.
 */
function forgetVolatileMount(workDir: string): void {
  rmSync(`${workDir}/work/incompat`, { recursive: true, force: true });
}

/**
 * The overlay of `lowerDirs` (top first) that nothing can be written to, as a detached mount. The kernel
 * wants two directories at least where there is no upper one: `emptyDir` is the second of a single one.
 */
export function mountReadOnlyOverlay(lowerDirs: readonly string[], emptyDir: string, label?: string): Fd {
  const stack = lowerDirs.length === 1 ? [...lowerDirs, emptyDir] : lowerDirs;
  return newFilesystem("overlay", withContext(lowerOptions(stack), label), MOUNT_ATTR_RDONLY);
}

function lowerOptions(directories: readonly string[]): string[] {
  return directories.map((directory) => `lowerdir+=${directory}`);
}

/** A new file system as a detached mount, with `options` as in `size=64m`. */
export function newFilesystem(type: string, options: readonly string[], attributes: number): Fd {
  using context = new Fd(syscall("fsopen", type, FSOPEN_CLOEXEC));
  for (const option of options) {
    const [key, value] = splitOnce(option);
    const kind = value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    try {
      syscall("fsconfig", context.number, kind, key, value ?? null, 0);
    } catch (error) {
      throw error instanceof SyscallError
        ? new SyscallError(`mount ${type}, ${key}`, error.errno, value)
        : error;
    }
  }
  syscall("fsconfig", context.number, FSCONFIG_CMD_CREATE, null, null, 0);
  return new Fd(syscall("fsmount", context.number, FSMOUNT_CLOEXEC, attributes));
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

/** Appends the first step of every new mount namespace: what is mounted in it is seen in no other. */
export function leavePropagation(table: Table): void {
  table.step("make all mounts private", "mount", [0, "/", 0, MS_REC | MS_PRIVATE, 0]);
}

/**
 * Appends the steps to a new mount namespace that is a copy of a pause's (its pidfd, or a descriptor of the namespace
 * itself), in place of CLONE_NEWNS. The kernel copies a namespace mount by mount, and every pod has two mounts on the
 * host; a pause has its empty root and nothing else. No path of the host's means anything afterwards.
 */
export function copyMounts(table: Table, of: Operand): void {
  table.step("enter the mounts of a pause", "setns", [of, CLONE_NEWNS]);
  table.step("copy them", "unshare", [CLONE_NEWNS]);
}

/** Where a root is attached in such a namespace. */
export const BARE_MOUNT_POINT = "/";

/**
 * Appends the steps that make a detached mount of the directory `path` inside the detached mount `mount`,
 * with `mount` as the root of everything that `path` leads through. Older kernels copy only what is
 * attached, so it is for a moment, on `mountPoint`: any empty directory of the host's, in a mount
 * namespace that `leavePropagation` has been applied to.
 */
export function mountSubdirectory(table: Table, mount: Operand, path: string, mountPoint: string): Cell {
  const what = `mount ${path} of the image`;
  table.step(`${what}: attach the image`, "move_mount", [
    mount,
    "",
    AT_FDCWD,
    mountPoint,
    MOVE_MOUNT_F_EMPTY_PATH,
  ]);
  const how = openHow(O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  const directory = table.answer(`${what}: open it`, "openat2", [mount, path, how, how.length]);
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  const copy = table.answer(what, "open_tree", [directory, "", flags]);
  table.step(`${what}: detach the image`, "umount2", [mountPoint, MNT_DETACH]);
  return copy;
}

/**
 * A mount point for those in a user namespace, who are nobody to the host and may not look into podrt's own
 * directories: everybody's, on every machine.
 */
export const COMMON_MOUNT_POINT = "/proc";

/**
 * Appends the steps that make the detached mount `root` the root of this mount namespace and forget
 * the old one. `mountPoint` is any empty directory of the host's: the mount on it is seen by this
 * namespace only, after `leavePropagation`.
 */
export function enterRoot(table: Table, root: Operand, mountPoint: string): void {
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
const RESOLVE_PLAIN = openHow(O_PATH | O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);

/** Appends an open of `path` that no link into /proc can lead astray. */
export function openPath(
  table: Table,
  path: string,
  name = `open ${path}`,
  tolerate: readonly ErrnoName[] = [],
): Cell {
  return table.answer(name, "openat2", [AT_FDCWD, path, RESOLVE, RESOLVE.length], { tolerate });
}

/** Appends an open of `path` in the root itself: ELOOP where a part of it is a link, EXDEV where a mount is on it. */
function openPlainPath(table: Table, path: string): Cell {
  const name = `open ${path}, which may be neither a link nor another mount's destination`;
  return table.answer(name, "openat2", [AT_FDCWD, path, RESOLVE_PLAIN, RESOLVE_PLAIN.length]);
}

const RESOLVE_ON_ROOT = openHow(O_PATH | O_CLOEXEC, 0, RESOLVE_NO_XDEV);

/**
 * Appends a step that fails with EXDEV where a mount lies over the entered root: a link has led the destination of
 * a mount, or a path that was to be read-only, to the root itself. The process would stay below it, but a command
 * executed later begins on top, where nothing is masked. `..` of the root is the one way to see it.
 */
export function refuseCoveredRoot(table: Table): void {
  const name = "see that nothing is mounted over the root";
  const operands = [AT_FDCWD, "/..", RESOLVE_ON_ROOT, RESOLVE_ON_ROOT.length];
  const root = table.answer(name, "openat2", operands);
  table.step(`${name}: close it`, "close", [root]);
}

/** The tree below the entered root while a program is compiled: what it has made and opened so far. */
export interface RootTree extends Recipient {
  /** Appends what is missing for a directory at `path` and above it to exist. */
  makeDirectories(path: string): void;
  /** Appends what is missing for a file at `path` to exist, and the directories above it. */
  makeFile(path: string): void;
  /** An O_PATH descriptor of `path`, which exists; opened once, unless a mount has covered it since. */
  open(path: string): Cell;
  /** Appends the attachment of the detached mount `mount` on `path`, which exists. */
  attach(mount: Operand, path: string, name: string, options?: { readonly isPlain: boolean }): void;
  /** Forgets what is known: a mount at a path that an image may have made a link covers who knows what. */
  forget(): void;
}

/** Each directory is made and opened once: mount points share most of their way. */
export function rootTree(program: Program, table: Table): RootTree {
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
    program,
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
    attach(mount, path, name, { isPlain } = { isPlain: false }) {
      const place = normalPath(path);
      const target = isPlain ? openPlainPath(table, place) : open(place);
      table.step(name, "move_mount", [
        mount,
        "",
        target,
        "",
        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
      ]);
      // What was made or opened at and below this path is underneath the mount now.
      const below = `${place}/`;
      opened.delete(place);
      for (const known of opened.keys()) if (known.startsWith(below)) opened.delete(known);
      for (const known of made) if (known.startsWith(below)) made.delete(known);
    },
  };
}

function normalPath(path: string): string {
  if (!path.endsWith("/") && path.startsWith("/") && !path.includes("//")) return path;
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

/** Makes a detached mount show its file system's ids as `userNamespace` maps them; EINVAL where it cannot. */
export function mapMount(mount: Fd, userNamespace: Fd): void {
  setDetachedAttributes(mount, mountAttr(MOUNT_ATTR_IDMAP, 0, 0, userNamespace.number), 0);
}

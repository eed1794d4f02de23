// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  mountAttr,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../linux/abi/mount.ts";
import { S_IFDIR, S_IFMT } from "../linux/abi/stat.ts";
import { Fd } from "../linux/fd.ts";
import { filesystemType } from "../linux/mount-info.ts";
import { openBeneath, statFd } from "../linux/path.ts";
import { isErrno, syscall } from "../linux/syscall.ts";
import { mountIdMappings } from "../oci/id-mapping.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import type { PassedFds } from "./passed-fds.ts";
import type { Operand, Table } from "./program.ts";
import {
  mapMount,
  mountFilesystem,
  newFilesystem,
  type RootTree,
  setDetachedAttributes,
  setMountAttributes,
} from "./rootfs.ts";
import { newUserNamespace } from "./user-namespace.ts";

const ATTRIBUTES: Readonly<Record<string, number>> = {
  ro: MOUNT_ATTR_RDONLY,
  rro: MOUNT_ATTR_RDONLY,
  nosuid: MOUNT_ATTR_NOSUID,
  nodev: MOUNT_ATTR_NODEV,
  noexec: MOUNT_ATTR_NOEXEC,
  rw: 0,
  relatime: 0,
};

const PROPAGATION: Readonly<Record<string, readonly [mode: number, depth: number]>> = {
  private: [MS_PRIVATE, 0],
  rprivate: [MS_PRIVATE, AT_RECURSIVE],
  slave: [MS_SLAVE, 0],
  rslave: [MS_SLAVE, AT_RECURSIVE],
  shared: [MS_SHARED, 0],
  rshared: [MS_SHARED, AT_RECURSIVE],
};

/** True of an option that a bind of the host's honours. */
export function isBindOption(option: string): boolean {
  const isOption = option === "bind" || option === "rbind";
  return isOption || Object.hasOwn(ATTRIBUTES, option) || Object.hasOwn(PROPAGATION, option);
}

/** Option of a bind whose source is the path itself, in the container's own root: a `VOLUME` of its image. */
export const IMAGE_VOLUME = "x-podrt.image-volume";

/** Begins an option that names what is mounted of a source, or of an image: a path below it that cannot leave it. */
export const SUB_PATH = "x-podrt.sub-path=";

interface MountOptions {
  readonly attributes: number;
  readonly propagation: readonly [mode: number, depth: number] | undefined;
  readonly isRecursiveReadOnly: boolean;
  /** What the file system itself is to hear. */
  readonly data: readonly string[];
}

/** The attributes among the options, for mount_setattr(2). */
export function attributesOf(options: readonly string[]): number {
  return parseOptions(options).attributes;
}

function parseOptions(options: readonly string[]): MountOptions {
  let attributes = 0;
  let propagation: MountOptions["propagation"];
  const data: string[] = [];
  for (const option of options) {
    if (option === "bind" || option === "rbind") continue;
    const attribute = ATTRIBUTES[option];
    const kind = PROPAGATION[option];
    if (attribute !== undefined) attributes |= attribute;
    else if (kind !== undefined) propagation = kind;
    else data.push(option);
  }
  return { attributes, propagation, isRecursiveReadOnly: options.includes("rro"), data };
}

/**
 * Parents before children, otherwise as given; but /proc and what is in it come last. A destination may
 * lead anywhere by links of the image's or of a volume's: while /proc is an empty directory of the root,
 * nothing that lands in it can hide or stand for a part of the kernel's.
 */
export function inMountOrder(mounts: readonly RuntimeMount[]): RuntimeMount[] {
  const depth = ({ destination }: RuntimeMount) =>
    destination.split("/").filter((part) => part !== "").length;
  return mounts
    .map((mount, index) => ({ mount, index, depth: depth(mount), isLast: Number(isInProc(mount)) }))
    .sort((a, b) => a.isLast - b.isLast || a.depth - b.depth || a.index - b.index)
    .map(({ mount }) => mount);
}

function isInProc({ destination }: RuntimeMount): boolean {
  return destination === "/proc" || destination.startsWith("/proc/");
}

/** What the kernel says must be found under its name: no link leads elsewhere, and no mount is beneath. */
function hasPlainPlace({ type, destination }: RuntimeMount): boolean {
  return type === "proc" || type === "sysfs" || destination === "/proc";
}

/** Opens the source of a bind; a program that is only looked at has others than one that is run. */
export type OpenSource = (mount: RuntimeMount) => Fd;

/**
 * Appends the mount of `mount` inside the entered root.
 *
 * The source of a bind is opened here, in the daemon, as a detached copy of the host's tree that
 * travels by descriptor: inside the root no name of the host's exists any more. `prepared` is a file
 * system that was made beforehand, as that of a terminal is.
 */
export function compileMount(
  tree: RootTree,
  mount: RuntimeMount,
  passed: PassedFds,
  prepared?: Operand,
  openSource: OpenSource = (asked) => openBindSource(asked, parseOptions(asked.options)),
): void {
  const { destination } = mount;
  if (mount.type === "bind") {
    const { source, name, isDirectory } = mount.options.includes(IMAGE_VOLUME)
      ? copyVolume(tree, destination)
      : bindSource(tree, mount, passed, openSource);
    tree.attach(source, destination, name, { isPlain: hasPlainPlace(mount) });
    // What was opened on the way, not what came along: with many mounts the child would run out of numbers.
    if (typeof source !== "number") tree.table.step(`${name}: close it`, "close", [source]);
    // What is known are directories, over none of which a file can be mounted.
    if (isDirectory) tree.forget();
    return;
  }
  tree.makeDirectories(destination);
  tree.attach(
    prepared ?? makeFilesystem(tree.table, mount),
    destination,
    `mount ${mount.type} on ${destination}`,
    { isPlain: hasPlainPlace(mount) },
  );
}

/** Appends the steps that make the file system of `mount`, detached. */
export function makeFilesystem(table: Table, mount: RuntimeMount): Operand {
  const { data, attributes } = filesystemOptions(mount);
  return mountFilesystem(table, mount.type, data, attributes);
}

/** The same file system, made by the daemon itself. */
export function openFilesystem(mount: RuntimeMount): Fd {
  const { data, attributes } = filesystemOptions(mount);
  return newFilesystem(mount.type, data, attributes);
}

/** A read-only tmpfs is made read-only at the end: mount points inside it have to be made first. */
function filesystemOptions({ type, options }: RuntimeMount): MountOptions {
  const parsed = parseOptions(options);
  return type === "tmpfs" ? { ...parsed, attributes: parsed.attributes & ~MOUNT_ATTR_RDONLY } : parsed;
}

/**
 * Whether `mount` must be made while the host's mounts are still there to be seen: in a user namespace the
 * kernel lets nobody mount these where they are not mounted already (mount_too_revealing of fs/namespace.c).
 */
export function needsHostsMounts({ type }: RuntimeMount): boolean {
  return type === "proc" || type === "sysfs";
}

/** Whether `mount` is the file system in which podrt makes a container's devices. */
export function isDeviceMount({ type, destination }: RuntimeMount): boolean {
  return type === "tmpfs" && destination === "/dev";
}

interface BindSource {
  readonly source: Operand;
  /** What its attachment is called. */
  readonly name: string;
  readonly isDirectory: boolean;
}

/** A mount of its own of what is at `path` stays writable when the root is made read-only. */
function copyVolume(tree: RootTree, path: string): BindSource {
  tree.makeDirectories(path);
  const name = `mount ${path} on ${path}`;
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
  const operands: readonly Operand[] = [tree.open(path), "", flags];
  const source = tree.table.answer(`${name}: copy the volume's mount`, "open_tree", operands);
  return { source, name, isDirectory: true };
}

function bindSource(
  tree: RootTree,
  mount: RuntimeMount,
  passed: PassedFds,
  openSource: OpenSource,
): BindSource {
  const { source, destination } = mount;
  const copy = passed.own(openSource(mount));
  const isDirectory = (statFd(copy.number).mode & S_IFMT) === S_IFDIR;
  if (isDirectory) tree.makeDirectories(destination);
  else tree.makeFile(destination);
  const operand = passed.give(copy, tree);
  const name = `mount ${isDirectory ? "directory" : "file"} ${source} on ${destination}`;
  return { source: operand, name, isDirectory };
}

/** Appends what has to wait until every mount is in its place. */
export function finishMounts(table: Table, mounts: readonly RuntimeMount[]): void {
  for (const { type, destination, options } of mounts) {
    if (type !== "tmpfs" || !options.includes("ro")) continue;
    setMountAttributes(table, destination, mountAttr(MOUNT_ATTR_RDONLY), `make ${destination} read-only`);
  }
}

function openBindSource(mount: RuntimeMount, options: MountOptions): Fd {
  try {
    const tree = copyTree(mount);
    try {
      if (options.propagation !== undefined) {
        const [mode, depth] = options.propagation;
        setDetachedAttributes(tree, mountAttr(0, 0, mode), depth);
      }
      // Attributes are the top mount's alone, as recursive binds always had it; `rro` covers what is below too.
      if (options.attributes !== 0) setDetachedAttributes(tree, mountAttr(options.attributes), 0);
      if (options.isRecursiveReadOnly) {
        setDetachedAttributes(tree, mountAttr(MOUNT_ATTR_RDONLY), AT_RECURSIVE);
      }
      mapIds(tree, mount);
      return tree;
    } catch (error) {
      tree.close();
      throw error;
    }
  } catch (error) {
    if (error instanceof FailedPreconditionError) throw error;
    throw new FailedPreconditionError(
      `cannot mount ${mount.source} on ${mount.destination}: ${messageOf(error)}; check the mount's host path`,
      { cause: error },
    );
  }
}

/** A detached copy of the mount at the source, or at a path below it that containers may have links in. */
function copyTree({ source, options }: RuntimeMount): Fd {
  const recursive = options.includes("bind") ? 0 : AT_RECURSIVE;
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive;
  const subPath = options.find((option) => option.startsWith(SUB_PATH))?.slice(SUB_PATH.length);
  if (subPath === undefined) return new Fd(syscall("open_tree", AT_FDCWD, source, flags));
  using volume = new Fd(syscall("openat", AT_FDCWD, source, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
  using part = openBeneath(volume.number, subPath, O_PATH);
  return new Fd(syscall("open_tree", part.number, "", flags | AT_EMPTY_PATH));
}

/** Fails now, as the start would, where the ids of a mount's file system cannot be mapped as it asks. */
export function checkMapping(mount: RuntimeMount): void {
  if (mount.type !== "bind" || mountIdMappings(mount) === undefined) return;
  openBindSource(mount, parseOptions(mount.options)).close();
}

/** Makes a detached mount show ids as `mount` maps them; what is mounted below it shows its own. */
function mapIds(tree: Fd, mount: RuntimeMount): void {
  const mappings = mountIdMappings(mount);
  if (mappings === undefined) return;
  using namespace = newUserNamespace(mappings);
  try {
    mapMount(tree, namespace);
  } catch (error) {
    if (!isErrno(error, "EINVAL")) throw error;
    throw new FailedPreconditionError(
      `cannot mount ${mount.source} on ${mount.destination} with mapped ids: its file system (${filesystemType(mount.source)}) does not support that; use a volume on another one, such as ext4, xfs or tmpfs`,
      { cause: error },
    );
  }
}

// SPDX-License-Identifier: Apache-2.0
import { AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW } from "../linux/abi/fcntl.ts";
import { OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from "../linux/abi/mount.ts";
import { S_IFBLK, S_IFCHR } from "../linux/abi/stat.ts";
import type { Fd } from "../linux/fd.ts";
import { mkdirAllInRoot } from "../linux/path.ts";
import { syscall } from "../linux/syscall.ts";
import type { RuntimeDevice, RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import { isDeviceMount, openFilesystem } from "./mounts.ts";
import { mapMount, type RootTree } from "./rootfs.ts";

/*
 * The device nodes of a container. In a user namespace of its own nobody can make one, and the nodes of
 * a file system that was mounted there cannot be opened: the daemon then makes the file system for /dev,
 * with the nodes in it. Those that belong elsewhere are in a directory of it, to be bound to their places.
 */

const DEVICE_LINKS = [
  ["/proc/self/fd", "/dev/fd"],
  ["/proc/self/fd/0", "/dev/stdin"],
  ["/proc/self/fd/1", "/dev/stdout"],
  ["/proc/self/fd/2", "/dev/stderr"],
  ["pts/ptmx", "/dev/ptmx"],
] as const;

/** A directory of the caller's on /dev is the host's own, most of the time: what is in it is what there is. */
export function isDevForeign({ mounts }: RuntimeSpec): boolean {
  return mounts.some(({ destination, type }) => destination === "/dev" && type === "bind");
}

/**
 * Appends the devices of a container and the links that programs expect beside them. With `isPrepared` the
 * file system on /dev is that of `deviceFilesystem`. `above` is what stands before the path of each: nothing in a
 * root that has been entered.
 */
export function makeDevices(tree: RootTree, spec: RuntimeSpec, isPrepared: boolean, above = ""): void {
  const isForeign = isDevForeign(spec);
  if (isPrepared) bindDevices(tree, spec);
  else {
    for (const device of spec.linux.devices)
      if (!isForeign || !device.path.startsWith("/dev/"))
        makeDevice(tree, { ...device, path: `${above}${device.path}` });
  }
  for (const [target, path] of isForeign ? [] : DEVICE_LINKS) {
    tree.table.step(`link ${path} to ${target}`, "symlinkat", [target, AT_FDCWD, `${above}${path}`], {
      tolerate: ["EEXIST"],
    });
  }
}

function makeDevice(tree: RootTree, device: RuntimeDevice): void {
  const { table } = tree;
  const { directory, name } = placeOf(device);
  tree.makeDirectories(directory);
  const parent = tree.open(directory);
  table.step(`make device ${device.path}`, "mknodat", [parent, name, modeOf(device), numberOf(device)], {
    tolerate: ["EEXIST"],
  });
  if (device.uid === 0 && device.gid === 0) return;
  const owner = [parent, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW];
  table.step(`give device ${device.path} its owner`, "fchownat", owner);
}

/** Where in the file system for /dev those nodes are that belong elsewhere. */
const ELSEWHERE = ".podrt";

/**
 * The file system for /dev, with the devices of `spec`, as a detached mount that shows its ids as
 * `userNamespace` maps them; undefined where something of the caller's is mounted on /dev instead.
 */
export function deviceFilesystem(spec: RuntimeSpec, userNamespace: Fd): Fd | undefined {
  const mount = spec.mounts.find(isDeviceMount);
  if (mount === undefined) return undefined;
  const filesystem = openFilesystem(mount);
  try {
    const elsewhere = devicesElsewhere(spec);
    for (const device of spec.linux.devices) {
      const { directory, name } = placeOf(device);
      const index = elsewhere.indexOf(device);
      if (index >= 0) makeNode(filesystem, ELSEWHERE, String(index), device);
      else if (!isCovered(device, spec.mounts))
        makeNode(filesystem, directory.slice("/dev".length), name, device);
    }
    mapMount(filesystem, userNamespace);
    return filesystem;
  } catch (error) {
    filesystem.close();
    throw error;
  }
}

function makeNode(filesystem: Fd, directory: string, name: string, device: RuntimeDevice): void {
  using parent = mkdirAllInRoot(filesystem.number, `/${directory}`, 0o755);
  syscall("mknodat", parent.number, name, modeOf(device), numberOf(device));
  syscall("fchownat", parent.number, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW);
  // The mode above has lost the bits of the daemon's umask.
  syscall("fchmodat", parent.number, name, device.fileMode);
}

/** Appends the binds of the devices that do not belong into the attached file system of `deviceFilesystem`. */
function bindDevices(tree: RootTree, spec: RuntimeSpec): void {
  const { table } = tree;
  const elsewhere = devicesElsewhere(spec);
  elsewhere.forEach((device, index) => {
    const node = `/dev/${ELSEWHERE}/${index}`;
    tree.makeFile(device.path);
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
    const copy = table.answer(`open device ${device.path}`, "open_tree", [AT_FDCWD, node, flags]);
    tree.attach(copy, device.path, `bind device ${device.path}`);
    table.step(`unlink the spare node of ${device.path}`, "unlinkat", [AT_FDCWD, node, 0]);
  });
  if (elsewhere.length === 0) return;
  const directory = `/dev/${ELSEWHERE}`;
  table.step("remove the directory of spare nodes", "unlinkat", [AT_FDCWD, directory, AT_REMOVEDIR]);
}

function devicesElsewhere({ linux, mounts }: RuntimeSpec): RuntimeDevice[] {
  return linux.devices.filter(
    (device) =>
      !isCovered(device, mounts) && (!device.path.startsWith("/dev/") || isBelowMount(device, mounts)),
  );
}

/** A mount of the caller's at the very path of a device stands for it. */
function isCovered({ path }: RuntimeDevice, mounts: readonly RuntimeMount[]): boolean {
  return mounts.some(({ destination }) => destination === path);
}

function isBelowMount({ path }: RuntimeDevice, mounts: readonly RuntimeMount[]): boolean {
  return mounts.some((mount) => !isDeviceMount(mount) && path.startsWith(`${mount.destination}/`));
}

function placeOf({ path }: RuntimeDevice): { directory: string; name: string } {
  const at = path.lastIndexOf("/");
  return { directory: path.slice(0, at) || "/", name: path.slice(at + 1) };
}

function modeOf(device: RuntimeDevice): number {
  return (device.type === "c" ? S_IFCHR : S_IFBLK) | device.fileMode;
}

/** dev_t as the kernel takes it: new_encode_dev of include/linux/kdev_t.h. */
function numberOf({ major, minor }: RuntimeDevice): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12);
}

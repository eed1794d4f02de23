// SPDX-License-Identifier: Apache-2.0
import { readlinkSync, statSync } from "node:fs";
import { FailedPreconditionError, UnimplementedError } from "../errors.ts";
import { makeDevices } from "../launch/devices.ts";
import type { OpenImageVolume } from "../launch/image-volume.ts";
import { compileMount, finishMounts, IMAGE_VOLUME, inMountOrder, isDeviceMount } from "../launch/mounts.ts";
import type { PassedFds } from "../launch/passed-fds.ts";
import type { Program, Table } from "../launch/program.ts";
import { type RootTree, rootTree } from "../launch/rootfs.ts";
import { O_PATH } from "../linux/abi/fcntl.ts";
import type { Fd } from "../linux/fd.ts";
import { openInRoot } from "../linux/path.ts";
import { isErrno } from "../linux/syscall.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";

/*
 * For a restore, criu makes the mount namespace. But what is mounted in it podrt makes, from the container's
 * configuration alone: each mount stands ready in a directory of its own, outside of the container's root, and
 * criu is told which goes where (`--external mnt[PLACE]:DIRECTORY`). Of the images it takes the order only.
 */

export interface PreparedMounts {
  /** criu's arguments for them. */
  readonly arguments: readonly string[];
  /** Those of the configuration by their places in the container. */
  readonly places: ReadonlyMap<string, RuntimeMount>;
}

/** A mount that stands ready. */
interface Prepared {
  readonly mount: RuntimeMount;
  /** Where it is in the container, all links of the root resolved. */
  readonly place: string;
  /** Where it stands ready. */
  readonly directory: string;
}

/** Appends the mounts of a container below `stage`, an empty directory; answers where they are to go. */
export function prepareMounts(
  program: Program,
  table: Table,
  stage: string,
  {
    spec,
    root,
    passed,
    imageVolumes,
  }: {
    readonly spec: RuntimeSpec;
    /** The container's root as a detached mount. */
    readonly root: Fd;
    readonly passed: PassedFds;
    readonly imageVolumes: ReadonlyMap<RuntimeMount, OpenImageVolume>;
  },
): PreparedMounts {
  checkDevices(spec);
  const external = spec.mounts.filter(
    ({ type, options }) => type !== "proc" && !options.includes(IMAGE_VOLUME),
  );
  const prepared: Prepared[] = [];
  for (const mount of inMountOrder(external)) {
    const place = placeOf(mount.destination, root, prepared);
    prepared.push({ mount, place, directory: `${stage}/${prepared.length}${mount.destination}` });
  }
  const all = rootTree(program, table);
  // Every directory here is the daemon's own: nothing can lead an attachment astray.
  const tree: RootTree = { ...all, attach: (what, path, name) => all.attach(what, path, name) };
  for (const { mount, place, directory } of prepared) {
    makePlace(tree, mount, place, prepared);
    const volume = imageVolumes.get(mount);
    compileMount(
      tree,
      { ...mount, destination: directory },
      passed,
      volume && passed.give(wholeOf(volume), tree),
    );
    if (isDeviceMount(mount)) makeDevices(tree, spec, false, directory.slice(0, -mount.destination.length));
  }
  const covers = prepareMasks(tree, stage, spec, passed);
  finishMounts(
    table,
    prepared.map(({ mount, directory }) => ({ ...mount, destination: directory })),
  );
  return {
    arguments: [...prepared, ...covers].flatMap(({ place, directory }) => [
      "--external",
      `mnt[${place}]:${directory}`,
    ]),
    places: new Map(prepared.map(({ place, mount }) => [place, mount])),
  };
}

function wholeOf({ root, subPath }: OpenImageVolume): Fd {
  if (subPath === "") return root;
  throw new UnimplementedError(
    "a container with a part of an image mounted (image_sub_path) cannot be restored by podrt",
  );
}

function checkDevices(spec: RuntimeSpec): void {
  const device = spec.linux.devices.find(({ path }) => !path.startsWith("/dev/"));
  if (device === undefined && spec.mounts.some(isDeviceMount)) return;
  throw new UnimplementedError(
    `a container with ${device === undefined ? "a /dev of its own" : `the device ${device.path}`} cannot be restored by podrt`,
  );
}

/** Where criu has seen the mount when it was dumped: links in the root lead to it, mounts above it have moved it. */
function placeOf(destination: string, root: Fd, above: readonly Prepared[]): string {
  const parent = parentOf(destination, above);
  if (parent !== undefined) return `${parent.place}${destination.slice(parent.mount.destination.length)}`;
  try {
    using found = openInRoot(root.number, destination, O_PATH);
    return readlinkSync(`/proc/self/fd/${found.number}`);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
    throw new FailedPreconditionError(
      `the checkpoint has nothing at ${destination} where the configuration mounts something: restore it with the mounts that it had`,
      { cause: error },
    );
  }
}

function parentOf(destination: string, prepared: readonly Prepared[]): Prepared | undefined {
  return prepared.findLast(({ mount }) => destination.startsWith(`${mount.destination}/`));
}

/** A mount inside of another one needs a place there too, since criu makes none. */
function makePlace(tree: RootTree, mount: RuntimeMount, place: string, prepared: readonly Prepared[]): void {
  const parent = prepared.findLast((other) => other.mount !== mount && place.startsWith(`${other.place}/`));
  if (parent === undefined) return;
  const path = `${parent.directory}${place.slice(parent.place.length)}`;
  if (mount.type === "bind" && !statSync(mount.source).isDirectory()) tree.makeFile(path);
  else tree.makeDirectories(path);
}

/** What hides a path is the null device, or an empty directory that nobody can write to. */
function prepareMasks(
  tree: RootTree,
  stage: string,
  spec: RuntimeSpec,
  passed: PassedFds,
): { readonly place: string; readonly directory: string }[] {
  const options = ["nosuid", "nodev", "noexec", "ro"];
  return spec.linux.maskedPaths.flatMap((path, index) => {
    // Of the kernel's, so the same outside.
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) return [];
    const directory = `${stage}/mask${index}`;
    const mount: RuntimeMount = status.isDirectory()
      ? {
          type: "tmpfs",
          source: "tmpfs",
          destination: directory,
          options: [...options, "mode=0755", "nr_inodes=1"],
        }
      : {
          type: "bind",
          source: "/dev/null",
          destination: directory,
          options: ["bind", "nosuid", "noexec", "ro"],
        };
    compileMount(tree, mount, passed);
    finishMounts(tree.table, [mount]);
    return [{ place: path, directory }];
  });
}

// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../../errors.ts";
import type { DevicesDirectory } from "./devices.ts";
import type { CgroupHost } from "./host.ts";
import type { CgroupDirectories } from "./resources.ts";
import { directoriesBelow, MAX_NAME_BYTES, pathNames } from "./tree.ts";

/** Where the directories of one cgroup are on this machine. */
export interface CgroupLayout {
  readonly path: string;
  readonly names: readonly string[];
  /** In each v1 hierarchy; empty on v2. */
  readonly v1: readonly string[];
  /**
   * In the cgroup2 hierarchy. On a hybrid machine that is only there for cgroup.kill, and it is flat: a
   * kubelet removes its pods' cgroups in the v1 hierarchies and would leave parents behind in this one.
   */
  readonly unified: string | undefined;
  readonly directories: CgroupDirectories;
  /** The directory whose list of processes counts. */
  readonly listing: string;
}

// Any would do where all are joined together; these are the ones that podrt depends on most.
const LISTING_CONTROLLERS = ["pids", "freezer", "memory"];

export function layoutOf(host: CgroupHost, path: string): CgroupLayout {
  const names = pathNames(path);
  const v1 = host.hierarchies.map(({ mountPoint }) => `${mountPoint}${path}`);
  const unified = unifiedDirectory(host, path, names);
  const v1Directory = (controller: string) => {
    const index = host.hierarchies.findIndex(({ controllers }) => controllers.includes(controller));
    return v1[index];
  };
  const directories: CgroupDirectories =
    host.version === "v2"
      ? {
          version: "v2",
          directory: (name) => (name === "cgroup" || host.controllers.includes(name) ? unified : undefined),
        }
      : { version: "v1", directory: (name) => (name === "cgroup" ? unified : v1Directory(name)) };
  const listing =
    host.version === "v2" ? unified : (LISTING_CONTROLLERS.map(v1Directory).find(Boolean) ?? v1[0]);
  if (listing === undefined) throw new FailedPreconditionError("no cgroup hierarchy is mounted");
  return { path, names, v1, unified, directories, listing };
}

/** The v1 devices hierarchy, or else a program on the cgroup2 directory. */
export function devicesDirectory({ path, v1, unified, directories }: CgroupLayout): DevicesDirectory {
  const directory = v1.length > 0 ? directories.directory("devices") : undefined;
  if (directory !== undefined) return { version: "v1", directory };
  if (unified !== undefined) return { version: "v2", directory: unified };
  throw new FailedPreconditionError(
    `cannot restrict the devices of cgroup ${path}: neither the devices controller nor cgroup2 is mounted`,
  );
}

/**
 * The cgroup2 directories of a cgroup and of those below it, which may have one of their own. On a hybrid machine they are told
 * from the v1 hierarchies, where each of them is as long as it is there: the flat directory is that of all pods.
 */
export function unifiedDirectories(host: CgroupHost, { path, listing, unified }: CgroupLayout): string[] {
  if (unified === undefined) return [];
  if (host.version === "v2") return [unified];
  const nested = directoriesBelow(listing).filter((directory) => directory !== listing);
  const names = nested.map((directory) => flatName(pathNames(path + directory.slice(listing.length))));
  // A longer one is not podrt's.
  const possible = names.filter((name) => name.length <= MAX_NAME_BYTES);
  return [...possible.map((name) => `${host.unified}/${name}`), unified];
}

/** The name of a cgroup's directory in the cgroup2 hierarchy of a hybrid machine. */
function flatName(names: readonly string[]): string {
  return names.map(encodeURIComponent).join(SEPARATOR);
}

const SEPARATOR = encodeURIComponent("/");

function unifiedDirectory(host: CgroupHost, path: string, names: readonly string[]): string | undefined {
  if (host.unified === undefined) return undefined;
  if (host.version === "v2") return `${host.unified}${path}`;
  const flat = flatName(names);
  if (flat.length > MAX_NAME_BYTES) {
    throw new InvalidArgumentError(
      "cgroup path",
      `is too long: ${path} (${flat.length} > ${MAX_NAME_BYTES} bytes)`,
    );
  }
  return `${host.unified}/${flat}`;
}

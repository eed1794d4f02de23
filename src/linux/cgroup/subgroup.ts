// SPDX-License-Identifier: Apache-2.0
import { O_DIRECTORY, O_RDONLY } from "../abi/fcntl.ts";
import { type Fd, open } from "../fd.ts";
import { tryRead, tryWrite } from "./files.ts";
import type { CgroupHost } from "./host.ts";
import { layoutOf } from "./layout.ts";
import { childDirectories, directoriesBelow, makeDirectory, removeDirectory } from "./tree.ts";

/**
 * A child of a cgroup in the cgroup2 hierarchy alone. It limits and accounts for nothing of its own: what
 * is born into it can be killed at once, whatever sessions and parents it takes. On a hybrid machine its
 * processes are in the cgroup itself in every v1 hierarchy.
 *
 * Having such a child leaves the cgroup free to hold processes as well: cgroup v2 forbids that only to
 * one that hands controllers down (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint").
 */
export interface Subgroup {
  readonly name: string;
  /** Makes it and answers its directory, for CLONE_INTO_CGROUP. */
  create(): Fd;
  /** SIGKILL to everything in it and below, forks under way included; false where it is gone or cannot be killed so. */
  kill(): boolean;
  /** True while a process that is no zombie is in it or below. */
  isPopulated(): boolean;
  /** Removes it with what its processes made below it; false while there are processes, true when it is gone. */
  remove(): boolean;
}

/** The child `name` of the cgroup at `path`, which need not exist; undefined where no cgroup2 is mounted. */
export function openSubgroup(host: CgroupHost, path: string, name: string): Subgroup | undefined {
  const { unified } = layoutOf(host, path);
  if (unified === undefined) return undefined;
  const directory = `${unified}/${name}`;
  const isPopulated = () => /^populated 1$/m.test(tryRead(`${directory}/cgroup.events`) ?? "");
  return {
    name,
    create() {
      makeDirectory(directory);
      return open(directory, O_RDONLY | O_DIRECTORY);
    },
    kill: () => tryWrite(`${directory}/cgroup.kill`, "1") === 0,
    isPopulated,
    remove: () =>
      removeDirectory(directory) || (!isPopulated() && directoriesBelow(directory).every(removeDirectory)),
  };
}

/** The names of the children that the cgroup at `path` has in the cgroup2 hierarchy. */
export function subgroupNames(host: CgroupHost, path: string): string[] {
  const { unified } = layoutOf(host, path);
  return unified === undefined ? [] : (childDirectories(unified) ?? []);
}

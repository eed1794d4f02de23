// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../../errors.ts";
import { ERRNO } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR } from "../abi/fcntl.ts";
import { trySyscall } from "../syscall.ts";
import { handDownCpuset, inheritCpuset } from "./cpuset.ts";
import { exists, read, tryWrite, writeFailure } from "./files.ts";
import type { CgroupHost } from "./host.ts";
import type { CgroupLayout } from "./layout.ts";
import { makeDirectories, makeDirectory } from "./tree.ts";

/** Controllers that podrt sets limits with or reads, of those that cgroup v2 must be told to hand down. */
const V2_CONTROLLERS = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/** Makes the cgroup in every hierarchy; when one refuses, what was made here is removed again. */
export function createCgroup(host: CgroupHost, layout: CgroupLayout): void {
  const made: string[] = [];
  try {
    for (const { mountPoint, controllers } of host.hierarchies) {
      const directories = levels(mountPoint, layout.names);
      if (controllers.includes("cpuset")) makeCpusets(host, mountPoint, directories, made);
      else makeDirectories(directories, made);
    }
    if (host.version === "v2") createUnified(host, layout, made);
    else if (layout.unified !== undefined && makeDirectory(layout.unified)) made.push(layout.unified);
  } catch (error) {
    for (const directory of made.reverse()) trySyscall("unlinkat", AT_FDCWD, directory, AT_REMOVEDIR);
    throw error;
  }
}

function makeCpusets(
  { borrowed }: CgroupHost,
  mountPoint: string,
  directories: readonly string[],
  made: string[],
): void {
  const present = directories.toReversed().find(exists) ?? mountPoint;
  const make = () => makeDirectories(directories, made);
  if (borrowed === undefined) make();
  else if (present !== directories.at(-1)) handDownCpuset(present, borrowed, make);
  inheritCpuset(directories);
}

/** On v2 a cgroup has the controllers that its parent hands down, and so on from the root. */
function createUnified(host: CgroupHost, { names }: CgroupLayout, made: string[]): void {
  let parent = host.unified as string;
  for (const directory of levels(parent, names)) {
    handDownControllers(parent);
    if (makeDirectory(directory)) made.push(directory);
    parent = directory;
  }
}

function handDownControllers(directory: string): void {
  const available = read(`${directory}/cgroup.controllers`).split(" ");
  const file = `${directory}/cgroup.subtree_control`;
  const enabled = read(file).split(" ");
  const missing = V2_CONTROLLERS.filter((name) => available.includes(name) && !enabled.includes(name));
  if (missing.length === 0) return;
  const value = missing.map((name) => `+${name}`).join(" ");
  const errno = tryWrite(file, value);
  if (errno === ERRNO.EBUSY) {
    throw new FailedPreconditionError(
      `cannot write "${value}" to ${file}: EBUSY (a cgroup that hands controllers down may not have ` +
        "processes of its own: move those into a child of it)",
    );
  }
  if (errno !== 0) throw writeFailure(file, value, errno);
}

/** `/a/b` below a mount point: first the directory of a, then that of b. */
function levels(mountPoint: string, names: readonly string[]): string[] {
  return names.map((_, index) => `${mountPoint}/${names.slice(0, index + 1).join("/")}`);
}

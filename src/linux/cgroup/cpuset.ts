// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";
import { read, tryWrite, write } from "./files.ts";
import { type CgroupDirectories, type CgroupResources, directoryFor, type Setting } from "./resources.ts";

/** The files that make the cpuset controller follow `resources`; the same in v1 and v2. */
export function cpusetSettings(cgroup: CgroupDirectories, resources: CgroupResources): Setting[] {
  const wanted = [
    ["cpusetCpus", "cpuset.cpus", resources.cpusetCpus],
    ["cpusetMems", "cpuset.mems", resources.cpusetMems],
  ] as const;
  return wanted.flatMap(([field, name, value]) => {
    if (value === undefined || value === "") return [];
    if (!/^[0-9,-]{1,4096}$/.test(value)) {
      throw new InvalidArgumentError(field, `must be a list like 0-2,5, but is ${JSON.stringify(value)}`);
    }
    return [{ file: `${directoryFor(cgroup, "cpuset", field)}/${name}`, value }];
  });
}

/** Lets the kernel give what is made below a v1 directory from now on the directory's cpuset, where it can. */
export function handDownCpuset(directory: string): void {
  tryWrite(`${directory}/cgroup.clone_children`, "1");
}

/**
 * A new v1 cpuset is empty, unless `handDownCpuset` was there before, and no process can join it: it starts with what
 * its parent has (cpuset(7)). `levels` are the directories from the hierarchy's first to the one that is to be joined.
 */
export function inheritCpuset(levels: readonly string[]): void {
  const directory = levels.at(-1) as string;
  const parent = directory.slice(0, directory.lastIndexOf("/"));
  for (const name of ["cpuset.cpus", "cpuset.mems"]) {
    if (read(`${directory}/${name}`) !== "") continue;
    let inherited = read(`${parent}/${name}`);
    if (inherited === "" && levels.length > 1) {
      inheritCpuset(levels.slice(0, -1));
      inherited = read(`${parent}/${name}`);
    }
    write(`${directory}/${name}`, inherited);
  }
}

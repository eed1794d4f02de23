// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../../errors.ts";
import type { BorrowedFile } from "./borrowed-file.ts";
import { read, write } from "./files.ts";
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

/**
 * Runs `make`, which makes directories below the v1 directory `parent`, so that the kernel gives them what that has, and
 * lets them do the same. Where it does not, `inheritCpuset` writes it; for each such write the kernel goes through all
 * cpusets and processes of the machine. `parent`, which may be somebody else's, is afterwards as it was.
 */
export function handDownCpuset(parent: string, borrowed: BorrowedFile, make: () => void): void {
  borrowed.during(`${parent}/cgroup.clone_children`, "1", make);
}

/**
 * A new v1 cpuset may be empty, and no process can join it: it starts with what its parent has (cpuset(7)). `levels`
 * are the directories from the hierarchy's first to the one that is to be joined.
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

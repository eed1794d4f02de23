// SPDX-License-Identifier: Apache-2.0
import { tryRead } from "./files.ts";
import {
  type CgroupDirectories,
  type CgroupResources,
  checkLimit,
  directoryFor,
  isSet,
  type Setting,
} from "./resources.ts";

/** The files that make the pids controller follow `resources`; the same in v1 and v2. */
export function pidsSettings(cgroup: CgroupDirectories, { pidsLimit }: CgroupResources): Setting[] {
  if (!isSet(pidsLimit)) return [];
  checkLimit("pidsLimit", pidsLimit, 1);
  const directory = directoryFor(cgroup, "pids", "pidsLimit");
  return [{ file: `${directory}/pids.max`, value: pidsLimit === -1 ? "max" : `${pidsLimit}` }];
}

/** Processes and threads in the cgroup and below; undefined without the controller. */
export function pidsCurrent(cgroup: CgroupDirectories): number | undefined {
  const directory = cgroup.directory("pids");
  const text = directory && tryRead(`${directory}/pids.current`);
  return text ? Number(text) : undefined;
}

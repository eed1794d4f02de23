// SPDX-License-Identifier: Apache-2.0
import type { CgroupReader } from "./reader.ts";
import {
  type CgroupDirectories,
  type CgroupResources,
  checkLimit,
  directoryFor,
  isSet,
  type Setting,
} from "./resources.ts";

/** Processes and threads alike, in the cgroup and below. */
export interface PidsStats {
  readonly current: number;
  /** Undefined when there is no limit. */
  readonly limit: number | undefined;
}

/** The files that make the pids controller follow `resources`; the same in v1 and v2. */
export function pidsSettings(cgroup: CgroupDirectories, { pidsLimit }: CgroupResources): Setting[] {
  if (!isSet(pidsLimit)) return [];
  checkLimit("pidsLimit", pidsLimit, 1);
  const directory = directoryFor(cgroup, "pids", "pidsLimit");
  return [{ file: `${directory}/pids.max`, value: pidsLimit === -1 ? "max" : `${pidsLimit}` }];
}

/** Undefined without the controller. */
export function pidsStats(cgroup: CgroupReader): PidsStats | undefined {
  const current = cgroup.tryRead("pids", "pids.current");
  if (!current) return undefined;
  const limit = cgroup.tryRead("pids", "pids.max") ?? "max";
  return { current: Number(current), limit: limit === "max" ? undefined : Number(limit) };
}

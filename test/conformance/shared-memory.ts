// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Ids of the System V shared memory segments of the machine (proc_sysvipc(5)). */
export function sharedMemoryIds(): ReadonlySet<string> {
  const lines = readFileSync("/proc/sysvipc/shm", "utf8").trim().split("\n").slice(1);
  return new Set(lines.map((line) => line.trim().split(/\s+/)[1]!));
}

/** The suite makes segments of one mebibyte and forgets them: removes those that were not there before. */
export function removeSharedMemory(before: ReadonlySet<string>): void {
  for (const id of sharedMemoryIds()) if (!before.has(id)) spawnSync("ipcrm", ["-m", id]);
}

// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError, FailedPreconditionError } from "../../errors.ts";
import { sleep } from "../../lib/deadline.ts";
import { ERRNO } from "../abi/errno.ts";
import { read, tryWrite, write } from "./files.ts";
import type { CgroupDirectories } from "./resources.ts";

const FREEZE_TIMEOUT_MS = 5_000;
const POLL_MS = 2;

/** Stops every process of the cgroup and below where it is; on timeout they are let go again. */
export async function freeze(cgroup: CgroupDirectories, timeoutMs = FREEZE_TIMEOUT_MS): Promise<void> {
  const directory = freezerDirectory(cgroup);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    // v1 wants to be asked again: a process that forked meanwhile may have been missed.
    write(stateFile(cgroup, directory), cgroup.version === "v1" ? "FROZEN" : "1");
    if (isFrozen(cgroup, directory)) return;
    if (performance.now() >= deadline) break;
    await sleep(POLL_MS);
  }
  thaw(cgroup);
  throw new DeadlineExceededError(
    `cannot freeze cgroup ${directory}: its processes did not stop within ${timeoutMs} ms`,
  );
}

/** Lets the processes of a frozen cgroup go on; without a freezer, and when it has just gone, there are none. */
export function thaw(cgroup: CgroupDirectories): void {
  if (!hasFreezer(cgroup)) return;
  const file = stateFile(cgroup, freezerDirectory(cgroup));
  const value = cgroup.version === "v1" ? "THAWED" : "0";
  const errno = tryWrite(file, value);
  // It fails in the same way once more, with a sentence that says so.
  if (errno !== 0 && errno !== ERRNO.ENOENT && errno !== ERRNO.ENODEV) write(file, value);
}

export function hasFreezer(cgroup: CgroupDirectories): boolean {
  return cgroup.directory(controllerOf(cgroup)) !== undefined;
}

/** Where the freezer's files of the cgroup are. */
export function freezerDirectory(cgroup: CgroupDirectories): string {
  const directory = cgroup.directory(controllerOf(cgroup));
  if (directory !== undefined) return directory;
  throw new FailedPreconditionError("cannot freeze a cgroup: this machine has no freezer cgroup controller");
}

/** On v2 freezing is no controller: every cgroup can do it. */
function controllerOf(cgroup: CgroupDirectories): string {
  return cgroup.version === "v1" ? "freezer" : "cgroup";
}

function stateFile(cgroup: CgroupDirectories, directory: string): string {
  return `${directory}/${cgroup.version === "v1" ? "freezer.state" : "cgroup.freeze"}`;
}

function isFrozen(cgroup: CgroupDirectories, directory: string): boolean {
  if (cgroup.version === "v1") return read(`${directory}/freezer.state`) === "FROZEN";
  return read(`${directory}/cgroup.events`).split("\n").includes("frozen 1");
}

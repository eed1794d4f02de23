// SPDX-License-Identifier: Apache-2.0

import { FailedPreconditionError, messageOf, ResourceExhaustedError } from "../errors.ts";
import { O_WRONLY } from "../linux/abi/fcntl.ts";
import { CLONE_NEWUSER } from "../linux/abi/sched.ts";
import { type Fd, open, writeAll } from "../linux/fd.ts";
import { openNamespace } from "../linux/namespace.ts";
import { isErrno } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import type { IdMapping } from "../oci/runtime-spec.ts";
import { spawnWithEngine, waitForEnd } from "./engine.ts";
import { newProgram } from "./program.ts";

/**
 * A new user namespace with these mappings, held by the descriptor alone: for processes that join it
 * and for mounts that are to map ids as it does.
 *
 * Only somebody outside can write the maps, through /proc/PID of a process inside. That process has
 * ended before this is done: until it is waited for, a zombie has its namespace still. So there is
 * nothing that a daemon that is killed here could leave running.
 */
export function newUserNamespace({ uids, gids }: IdMappings): Fd {
  const pid = spawnInside();
  try {
    writeMap(pid, "uid_map", uids);
    writeMap(pid, "gid_map", gids);
    return openNamespace(pid, "user");
  } finally {
    waitForEnd(pid);
  }
}

function spawnInside(): number {
  try {
    return spawnWithEngine(newProgram("user namespace"), CLONE_NEWUSER);
  } catch (error) {
    if (!isErrno(error, "ENOSPC", "EUSERS")) throw error;
    throw new ResourceExhaustedError(
      "no more user namespaces may be made on this machine: raise user.max_user_namespaces",
      { cause: error },
    );
  }
}

/** user_namespaces(7): the whole map in one write. */
function writeMap(pid: number, file: "uid_map" | "gid_map", mappings: readonly IdMapping[]): void {
  using map = open(`/proc/${pid}/${file}`, O_WRONLY);
  const lines = mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`);
  try {
    writeAll(map.number, new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  } catch (error) {
    throw new FailedPreconditionError(
      `the kernel does not let podrt write the ${file} ${JSON.stringify(lines.join(", "))}: ${messageOf(error)}; podrt has to have these ids of the host itself`,
      { cause: error },
    );
  }
}

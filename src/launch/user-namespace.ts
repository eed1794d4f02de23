// SPDX-License-Identifier: Apache-2.0

import { O_WRONLY } from "../linux/abi/fcntl.ts";
import { CLONE_NEWUSER } from "../linux/abi/sched.ts";
import { type Fd, open, writeAll } from "../linux/fd.ts";
import { openNamespace } from "../linux/namespace.ts";
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
  const pid = spawnWithEngine(newProgram("user namespace"), CLONE_NEWUSER);
  try {
    writeMap(pid, "uid_map", uids);
    writeMap(pid, "gid_map", gids);
    return openNamespace(pid, "user");
  } finally {
    waitForEnd(pid);
  }
}

/** user_namespaces(7): the whole map in one write. */
function writeMap(pid: number, file: "uid_map" | "gid_map", mappings: readonly IdMapping[]): void {
  using map = open(`/proc/${pid}/${file}`, O_WRONLY);
  const lines = mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`);
  writeAll(map.number, new TextEncoder().encode(lines.join("")));
}

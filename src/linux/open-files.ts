// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { ERRNO } from "./abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "./abi/fcntl.ts";
import { Fd } from "./fd.ts";
import { SyscallError, trySyscall } from "./syscall.ts";
import { listDirectory } from "./tree.ts";

/** What the processes of a group have open. */
export interface OpenFiles {
  readonly descriptors: number;
  readonly sockets: number;
}

/** Names and sizes of what is counted are the container's choice. */
export interface OpenFilesBounds {
  /** Processes that are looked at. */
  readonly processes: number;
  /** Descriptors, of all processes together, that are looked at to see whether they are sockets. */
  readonly links: number;
}

const SOCKET_PREFIX = Buffer.from("socket:");

/**
 * Counts what `pids` have open, one process at a time, so that the caller can pause in between. What lies beyond
 * the bounds is not counted, nor are processes that end meanwhile.
 */
export function* countOpenFiles(pids: readonly number[], bounds: OpenFilesBounds): Generator<OpenFiles> {
  let descriptors = 0;
  let sockets = 0;
  let links = bounds.links;
  for (const pid of pids.slice(0, bounds.processes)) {
    // Since Linux 6.2 the size of the directory is the number of descriptors.
    const count = statSync(`/proc/${pid}/fd`, { throwIfNoEntry: false })?.size ?? 0;
    descriptors += count;
    if (links > 0) sockets += countSockets(pid, links);
    links -= count;
    yield { descriptors, sockets };
  }
}

function countSockets(pid: number, maxLinks: number): number {
  const number = trySyscall("openat", AT_FDCWD, `/proc/${pid}/fd`, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (number === -ERRNO.ENOENT || number === -ERRNO.ESRCH) return 0;
  if (number < 0) throw new SyscallError("openat", -number, `/proc/${pid}/fd`);
  using directory = new Fd(number);
  const target = new Uint8Array(SOCKET_PREFIX.length);
  let sockets = 0;
  let links = 0;
  try {
    for (const name of listDirectory(directory)) {
      if (links++ >= maxLinks) break;
      const length = trySyscall("readlinkat", directory.number, name, target, target.length);
      if (length === target.length && SOCKET_PREFIX.equals(target)) sockets++;
    }
  } catch (error) {
    // The process has ended meanwhile.
    if (!(error instanceof SyscallError)) throw error;
  }
  return sockets;
}

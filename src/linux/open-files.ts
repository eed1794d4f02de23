// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { ERRNO } from "./abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "./abi/fcntl.ts";
import { Fd } from "./fd.ts";
import { isErrno, SyscallError, trySyscall } from "./syscall.ts";
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
 * the bounds is not counted, except that descriptors are always; nor are processes that end meanwhile.
 */
export function* countOpenFiles(pids: readonly number[], bounds: OpenFilesBounds): Generator<OpenFiles> {
  let descriptors = 0;
  let sockets = 0;
  let links = bounds.links;
  for (const pid of pids.slice(0, bounds.processes)) {
    const listed = listOpenFiles(pid, links);
    // The number without a list: since Linux 6.2 the size of the directory. It has those that are only
    // reserved as well, as by a thread that waits for a connection.
    descriptors += listed.isWhole ? listed.descriptors : sizeOf(pid);
    sockets += listed.sockets;
    links -= listed.descriptors;
    yield { descriptors, sockets };
  }
}

function sizeOf(pid: number): number {
  return statSync(`/proc/${pid}/fd`, { throwIfNoEntry: false })?.size ?? 0;
}

interface ListedFiles extends OpenFiles {
  readonly isWhole: boolean;
}

function listOpenFiles(pid: number, maxLinks: number): ListedFiles {
  if (maxLinks <= 0) return { descriptors: 0, sockets: 0, isWhole: false };
  const number = trySyscall("openat", AT_FDCWD, `/proc/${pid}/fd`, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (number === -ERRNO.ENOENT || number === -ERRNO.ESRCH) {
    return { descriptors: 0, sockets: 0, isWhole: true };
  }
  if (number < 0) throw new SyscallError("openat", -number, `/proc/${pid}/fd`);
  using directory = new Fd(number);
  const target = new Uint8Array(SOCKET_PREFIX.length);
  let descriptors = 0;
  let sockets = 0;
  try {
    for (const name of listDirectory(directory)) {
      if (descriptors === maxLinks) return { descriptors, sockets, isWhole: false };
      descriptors++;
      const length = trySyscall("readlinkat", directory.number, name, target, target.length);
      if (length === target.length && SOCKET_PREFIX.equals(target)) sockets++;
    }
  } catch (error) {
    // The process has ended meanwhile.
    if (!isErrno(error, "ENOENT", "ESRCH")) throw error;
  }
  return { descriptors, sockets, isWhole: true };
}

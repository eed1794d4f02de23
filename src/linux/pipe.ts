// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import { O_NONBLOCK, O_WRONLY } from "./abi/fcntl.ts";
import { type Fd, open, pipe } from "./fd.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;
const F_SETPIPE_SZ = 1031;
const FIONREAD = 0x541b;
/** What a pipe has room for until it is grown (pipe(7)). */
export const PIPE_BYTES = 64 * 1024;
/** Twice that: a full pipe's content fits beside what is kept. */
const STAGE_BYTES = 2 * PIPE_BYTES;
/** What a busy container's pipe is given instead of that; its stage has twice as much again. */
const BUSY_PIPE_BYTES = 256 * 1024;
/** The most that a stage holds. */
export const BUSY_STAGE_BYTES = 2 * BUSY_PIPE_BYTES;

/** A pipe that holds output between the container's own pipe and the log; see container/output-source.ts. */
export function newStage(): { read: Fd; write: Fd } {
  const stage = pipe(O_NONBLOCK);
  syscall("fcntl", stage.read.number, F_SETPIPE_SZ, STAGE_BYTES);
  return stage;
}

/**
 * Gives a pipe room for so many bytes (F_SETPIPE_SZ, fcntl(2)); false where the kernel does not allow it, or it is
 * something else, which stays as it is.
 */
export function growPipe(fd: number, bytes: number): boolean {
  return trySyscall("fcntl", fd, F_SETPIPE_SZ, bytes) >= 0;
}

/** Gives more room to the pipe of a container that fills it, and to its stage. */
export function growForBusyWriter(fd: number, stageFd: number): void {
  if (growPipe(stageFd, BUSY_STAGE_BYTES)) growPipe(fd, BUSY_PIPE_BYTES);
}

/** The write end of the pipe of which `readFd` is the read end. */
export function openWriteEnd(readFd: number): Fd {
  return open(`/proc/self/fd/${readFd}`, O_WRONLY | O_NONBLOCK);
}

/** splice(2) of what `from` has into the pipe `to`: bytes moved, 0 at the end, -errno (-EAGAIN: nothing to move, or no room). */
export function moveToPipe(from: number, to: number): number {
  return trySyscall("splice", from, null, to, null, BUSY_STAGE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

/** Bytes that can be read from a pipe or terminal now. */
export function bytesIn(fd: number): number {
  const count = new Int32Array(1);
  syscall("ioctl", fd, FIONREAD, new Uint8Array(count.buffer));
  return count[0] ?? 0;
}

let scratch: { read: Fd; write: Fd } | undefined;
const buffer = new Uint8Array(BUSY_STAGE_BYTES);

function newScratch(): { read: Fd; write: Fd } {
  const made = newStage();
  growPipe(made.read.number, BUSY_STAGE_BYTES);
  return made;
}

/** What a pipe holds, the first `limit` bytes, without taking it out (tee(2)); the view is valid until the next call. */
export function peekPipe(fd: number, limit: number): Uint8Array {
  scratch ??= newScratch();
  const copied = trySyscall("tee", fd, scratch.write.number, limit, SPLICE_F_NONBLOCK);
  if (copied === -ERRNO.EAGAIN || copied === 0) return buffer.subarray(0, 0);
  if (copied < 0) throw new SyscallError("tee", -copied);
  let length = 0;
  while (length < copied) {
    length += syscall("read", scratch.read.number, buffer.subarray(length), copied - length);
  }
  return buffer.subarray(0, length);
}

const sink = new Uint8Array(4096);

/** Takes all that a non-blocking pipe holds and forgets it; true when nothing more can come. */
export function emptyPipe(fd: number): boolean {
  for (;;) {
    const count = trySyscall("read", fd, sink, sink.length);
    if (count <= 0) return count !== -ERRNO.EAGAIN;
  }
}

let nowhere: Fd | undefined;

/**
 * Takes the first `count` bytes out of a pipe that holds at least so many, in one call, which is never done by half:
 * the kernel looks for signals before the first byte only (splice_from_pipe_next in fs/splice.c).
 */
export function dropFromPipe(fd: number, count: number): void {
  nowhere ??= open("/dev/null", O_WRONLY);
  syscall("splice", fd, null, nowhere.number, null, count, SPLICE_F_NONBLOCK);
}

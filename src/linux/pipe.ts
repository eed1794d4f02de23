// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import { O_NONBLOCK, O_WRONLY } from "./abi/fcntl.ts";
import { type Fd, open, pipe } from "./fd.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;
const F_SETPIPE_SZ = 1031;
const FIONREAD = 0x541b;
/** Twice a pipe's usual capacity: a full pipe's content fits beside what is kept. */
const STAGE_BYTES = 128 * 1024;

/** A pipe that holds output between the container's own pipe and the log; see container/output-source.ts. */
export function newStage(): { read: Fd; write: Fd } {
  const stage = pipe(O_NONBLOCK);
  syscall("fcntl", stage.read.number, F_SETPIPE_SZ, STAGE_BYTES);
  return stage;
}

/** Gives a pipe room for so many bytes where the kernel allows it (F_SETPIPE_SZ, fcntl(2)); else it stays as it is. */
export function growPipe(fd: number, bytes: number): void {
  trySyscall("fcntl", fd, F_SETPIPE_SZ, bytes);
}

/** The write end of the pipe of which `readFd` is the read end. */
export function openWriteEnd(readFd: number): Fd {
  return open(`/proc/self/fd/${readFd}`, O_WRONLY | O_NONBLOCK);
}

/** splice(2) of what `from` has into the pipe `to`: bytes moved, 0 at the end, -errno (-EAGAIN: nothing to move, or no room). */
export function moveToPipe(from: number, to: number): number {
  return trySyscall("splice", from, null, to, null, STAGE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

/** Bytes that can be read from a pipe or terminal now. */
export function bytesIn(fd: number): number {
  const count = new Int32Array(1);
  syscall("ioctl", fd, FIONREAD, new Uint8Array(count.buffer));
  return count[0] ?? 0;
}

let scratch: { read: Fd; write: Fd } | undefined;
const buffer = new Uint8Array(STAGE_BYTES);

/** What a pipe holds, without taking it out (tee(2)); the view is valid until the next call. */
export function peekPipe(fd: number): Uint8Array {
  scratch ??= newStage();
  const copied = trySyscall("tee", fd, scratch.write.number, STAGE_BYTES, SPLICE_F_NONBLOCK);
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

// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import { bytesIn } from "../linux/pipe.ts";
import { SyscallError, trySyscall } from "../linux/syscall.ts";
import type { Exec } from "./exec.ts";
import type { OutputRoom } from "./output-room.ts";

/*
 * The output of a command that somebody wants at its end. Most commands write little and end soon: their pipes keep it,
 * and it is taken out when they have ended, without anything that waits for descriptors. What is more than a pipe has
 * room for, or comes later, is read as it comes.
 */

// Time for output to arrive after the process has ended: longer means that a child of it holds the pipe.
const DRAIN_TIMEOUT_MS = 1000;
const PIPE_BYTES = 64 * 1024;
/** A pipe with so much in it may soon be full, and its writer held back. */
const MUCH_BYTES = PIPE_BYTES / 4;
const FIRST_LOOK_MS = 10;
const LAST_LOOK_MS = 80;

/** Looks after the outputs of a command that is expected to end soon. */
export interface Patience extends Disposable {
  /** Resolves when they are to be read while the command runs: one has much in it, or it was a while. */
  until(outputs: readonly Fd[]): Promise<void>;
}

/** Patience that is over at the latest when `limit` rejects; disposing it stops the looking. */
export function newPatience(limit: Promise<never>): Patience {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    until(outputs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      limit.catch(resolve);
      const lookAfter = (ms: number) => {
        timer = setTimeout(() => {
          const isMuch = outputs.some(({ number }) => bytesIn(number) >= MUCH_BYTES);
          if (isMuch || ms >= LAST_LOOK_MS) resolve();
          else lookAfter(ms * 2);
        }, ms);
      };
      lookAfter(FIRST_LOOK_MS);
      return promise;
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

export interface OutputCollection {
  /** Rejects when there is no room for more. */
  readonly overflow: Promise<never>;
  /** Waits for the end of both streams, a second at most, and not beyond `limit`; rejects as `overflow` does. */
  drained(limit: Promise<never>): Promise<void>;
  result(): { readonly stdout: Uint8Array; readonly stderr: Uint8Array };
  /** Stops reading and closes the descriptors. */
  stop(): Promise<void>;
}

/** Reads both outputs into memory as far as there is room, and to their end without keeping more. */
export function collectOutput(exec: Exec, room: OutputRoom): OutputCollection {
  const overflow = Promise.withResolvers<never>();
  // It may come when nobody waits any more.
  overflow.promise.catch(() => {});
  const read = (fd: Fd) => {
    const chunks: Uint8Array[] = [];
    const keep = (chunk: Uint8Array) => {
      const kept = room.take(chunk.length);
      if (kept > 0) chunks.push(chunk.subarray(0, kept));
    };
    const onFailure = (error: unknown) => {
      if (!(error instanceof ResourceExhaustedError)) return;
      chunks.length = 0;
      overflow.reject(error);
    };
    let reader: ReturnType<typeof readerOf> | undefined;
    const run = async () => {
      if (takeAll(fd, keep)) return;
      reader = readerOf(fd);
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        keep(value);
      }
    };
    const done = run().catch(onFailure);
    const stop = async () => {
      await reader?.cancel().catch(() => {});
      await done;
      fd.close();
    };
    return { chunks, done, stop };
  };
  const stdout = read(exec.stdout);
  const stderr = read(exec.stderr as Fd);
  return {
    overflow: overflow.promise,
    async drained(limit) {
      const { promise: expiry, resolve: expire } = Promise.withResolvers<void>();
      const timer = setTimeout(expire, DRAIN_TIMEOUT_MS);
      const ends = Promise.all([stdout.done, stderr.done]);
      await Promise.race([ends, expiry, limit.catch(() => {}), overflow.promise]);
      clearTimeout(timer);
    },
    result: () => ({ stdout: Buffer.concat(stdout.chunks), stderr: Buffer.concat(stderr.chunks) }),
    async stop() {
      await Promise.all([stdout.stop(), stderr.stop()]);
    },
  };
}

function readerOf(fd: Fd) {
  return Bun.file(fd.number).stream().getReader();
}

const buffer = new Uint8Array(PIPE_BYTES);

/** Takes out of a pipe what is in it, a pipe's content at most; true at its end. */
function takeAll(fd: Fd, keep: (chunk: Uint8Array) => void): boolean {
  for (let left = PIPE_BYTES; left > 0; ) {
    const count = trySyscall("read", fd.number, buffer, buffer.length);
    if (count === 0) return true;
    if (count === -ERRNO.EAGAIN) return false;
    if (count < 0) throw new SyscallError("read", -count);
    keep(buffer.slice(0, count));
    left -= count;
  }
  return false;
}

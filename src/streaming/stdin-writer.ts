// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import { trySyscall } from "../linux/syscall.ts";

/** One session's way into somebody's stdin. It owns no descriptor, so that none outlives its session. */
export interface StdinWriter {
  /** Resolves when the bytes are in the pipe; bytes for a process that no longer reads are dropped. */
  write(data: Uint8Array): Promise<void>;
  /** Resolves when everything given to `write` is in the pipe, or was dropped. */
  flushed(): Promise<void>;
  /** Drops what is not in the pipe yet, and whatever comes. */
  stop(): void;
}

// A full pipe is looked at again at once, then less and less often.
const IMMEDIATE_LOOKS = 4;
const LONGEST_PAUSE_MS = 100;

/** Writes to `fd`, a non-blocking pipe or the master of a pseudo-terminal, as long as its owner has it open. */
export function newStdinWriter(fd: Fd): StdinWriter {
  let isOver = false;
  let last = Promise.resolve();
  const write = async (data: Uint8Array) => {
    let refusals = 0;
    for (let rest = data; rest.length > 0 && !isOver && fd.isOpen; ) {
      const result = trySyscall("write", fd.number, rest, rest.length);
      if (result >= 0) {
        rest = rest.subarray(result);
        refusals = 0;
      } else if (result === -ERRNO.EAGAIN) await pause(refusals++);
      // EPIPE: the reader has gone, which its exit code will tell better than an error here.
      else isOver = true;
    }
  };
  return {
    write(data) {
      if (isOver) return Promise.resolve();
      last = last.then(() => write(data));
      return last;
    },
    flushed: () => last,
    stop() {
      isOver = true;
    },
  };
}

async function pause(refusals: number): Promise<void> {
  if (refusals < IMMEDIATE_LOOKS) await new Promise((resolve) => setImmediate(resolve));
  else await Bun.sleep(Math.min(2 ** (refusals - IMMEDIATE_LOOKS), LONGEST_PAUSE_MS));
}

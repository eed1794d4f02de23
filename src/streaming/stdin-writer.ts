// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";

/** The writing end of somebody's stdin. */
export interface StdinWriter {
  /** Resolves when the bytes are in the pipe; bytes for a process that no longer reads are dropped. */
  write(data: Uint8Array): Promise<void>;
  /** Closes the descriptor after what is being written. Idempotent. */
  close(): void;
}

/** Takes over `fd`, a non-blocking pipe or terminal. */
export function openStdinWriter(fd: Fd): StdinWriter {
  const sink = Bun.file(fd.number).writer();
  let last = Promise.resolve();
  let isClosed = false;
  return {
    write(data) {
      if (isClosed) return Promise.resolve();
      last = last
        .then(async () => {
          sink.write(data);
          await sink.flush();
        })
        // EPIPE: the reader has gone, which its exit code will tell better than an error here.
        .catch(() => {});
      return last;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      void last.then(async () => {
        await Promise.resolve(sink.end()).catch(() => {});
        fd.close();
      });
    },
  };
}

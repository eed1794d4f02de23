// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

/** The writing end of somebody's stdin. */
export interface StdinWriter {
  /** Resolves when the bytes are in the pipe; bytes for a process that no longer reads are dropped. */
  write(data: Uint8Array): Promise<void>;
  /** Closes the descriptor after what is being written. Idempotent. */
  close(): void;
}

/** Takes over `fd`, a non-blocking pipe or, with `terminal`, the master of a pseudo-terminal. */
export function openStdinWriter(fd: Fd, options: { terminal: boolean }): StdinWriter {
  let isClosed = false;
  const sink = options.terminal ? terminalSink(fd, () => isClosed) : pipeSink(fd);
  let last = Promise.resolve();
  return {
    write(data) {
      if (isClosed) return Promise.resolve();
      // EPIPE: the reader has gone, which its exit code will tell better than an error here.
      last = last.then(() => sink.write(data)).catch(() => {});
      return last;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      void last.then(async () => {
        await sink.end().catch(() => {});
        fd.close();
      });
    },
  };
}

interface Sink {
  write(data: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

function pipeSink(fd: Fd): Sink {
  const sink = Bun.file(fd.number).writer();
  return {
    async write(data) {
      sink.write(data);
      await sink.flush();
    },
    end: async () => void (await sink.end()),
  };
}

const FULL_TERMINAL_WAIT_MS = 5;

// Bun's writer, given a terminal, takes its output away from the reader of the same terminal. What a
// person types is little, so plain writes do; a terminal whose program does not read fills up at 4 KiB.
function terminalSink(fd: Fd, isClosed: () => boolean): Sink {
  return {
    async write(data) {
      for (let rest = data; rest.length > 0 && !isClosed(); ) {
        try {
          rest = rest.subarray(syscall("write", fd.number, rest, rest.length));
        } catch (error) {
          if (!isErrno(error, "EAGAIN")) throw error;
          await Bun.sleep(FULL_TERMINAL_WAIT_MS);
        }
      }
    },
    end: async () => {},
  };
}

// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";

/** A piece of what a process wrote. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

/** Output that is read only as fast as it is asked for, so that a slow reader holds the writer back. */
export interface OutputReader {
  readonly chunks: AsyncIterable<OutputChunk>;
  /**
   * The process has ended: what it wrote is still delivered, to however slow a reader, but a pipe that a
   * child of it keeps open is waited for only a second more.
   */
  finish(): void;
  /** Ends `chunks` now. */
  stop(): void;
}

interface Source {
  readonly stream: OutputChunk["stream"];
  readonly fd: Fd;
}

// A pipe in which nothing more comes for so long has been left open by a child of the process.
const DRAIN_TIMEOUT_MS = 1000;

/** Reads several descriptors, which are closed at their end, as one sequence. */
export function readOutputs(sources: readonly Source[]): OutputReader {
  const readers = sources.map(({ fd }) => Bun.file(fd.number).stream().getReader());
  // One chunk of each source at most.
  const arrived: { readonly chunk: OutputChunk; readonly taken: () => void }[] = [];
  let openSources = sources.length;
  let isFinishing = false;
  let isStopped = false;
  let wake = () => {};
  const stop = () => {
    isStopped = true;
    for (const { taken } of arrived.splice(0)) taken();
    for (const reader of readers) void reader.cancel().catch(() => {});
    wake();
  };
  const pump = async ({ stream, fd }: Source, reader: (typeof readers)[number]) => {
    while (!isStopped) {
      // The master of a terminal whose other side is closed answers EIO: its end of file.
      const { done, value } = await reader.read().catch(() => ({ done: true as const, value: undefined }));
      if (done || isStopped) break;
      await new Promise<void>((taken) => {
        arrived.push({ chunk: { stream, data: value }, taken });
        wake();
      });
    }
    fd.close();
    openSources--;
    wake();
  };
  sources.forEach((source, index) => void pump(source, readers[index] as (typeof readers)[number]));
  async function* merge(): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const next = arrived.shift();
        if (next !== undefined) {
          next.taken();
          yield next.chunk;
        } else if (openSources === 0 || isStopped) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          const expiry = isFinishing ? setTimeout(stop, DRAIN_TIMEOUT_MS) : undefined;
          wake = resolve;
          await promise;
          clearTimeout(expiry);
        }
      }
    } finally {
      stop();
    }
  }
  return {
    chunks: merge(),
    finish() {
      isFinishing = true;
      wake();
    },
    stop,
  };
}

// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";
import { PipeReader, ROOM_BYTES } from "./pipe-reader.ts";

/** A piece of what a process wrote. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
  /** So many bytes before `data` in its buffer are for whoever has the chunk; none where it is absent. */
  readonly room?: number;
}

/** Output that is read only as fast as it is asked for, so that a slow reader holds the writer back. */
export interface OutputReader {
  /** The bytes of a chunk are valid until the next one is asked for. */
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
  const readers = sources.map(({ fd }) => new PipeReader(fd));
  // One chunk of each source at most.
  const arrived: { readonly chunk: OutputChunk; readonly taken: () => void }[] = [];
  let openSources = sources.length;
  let isFinishing = false;
  let isStopped = false;
  let wake = () => {};
  /** Lets go of the chunk that is being used. */
  let letGo = () => {};
  const stop = () => {
    isStopped = true;
    letGo();
    for (const { taken } of arrived.splice(0)) taken();
    for (const reader of readers) reader.stop();
    wake();
  };
  const pump = async ({ stream, fd }: Source, reader: PipeReader) => {
    for (;;) {
      const data = await reader.next();
      if (data === undefined || isStopped) break;
      await new Promise<void>((taken) => {
        arrived.push({ chunk: { stream, data, room: ROOM_BYTES }, taken });
        wake();
      });
    }
    reader.stop();
    fd.close();
    openSources--;
    wake();
  };
  sources.forEach((source, index) => void pump(source, readers[index] as PipeReader));
  async function* merge(): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const next = arrived.shift();
        if (next !== undefined) {
          letGo = next.taken;
          yield next.chunk;
          letGo();
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

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
  /** Ends `chunks` even though somebody still has the other end open. */
  stop(): void;
}

interface Source {
  readonly stream: OutputChunk["stream"];
  readonly fd: Fd;
}

/** Reads several descriptors, which are closed at their end, as one sequence. */
export function readOutputs(sources: readonly Source[]): OutputReader {
  const readers = sources.map(({ stream, fd }) => ({
    stream,
    fd,
    reader: Bun.file(fd.number).stream().getReader(),
  }));
  const next = async (index: number) => {
    const source = readers[index] as (typeof readers)[number];
    // The master of a terminal whose other side is closed answers EIO: its end of file.
    const result = await source.reader.read().catch(() => ({ done: true as const, value: undefined }));
    return { index, stream: source.stream, ...result };
  };
  async function* merge(): AsyncGenerator<OutputChunk> {
    const pending = new Map(readers.map((_, index) => [index, next(index)]));
    try {
      while (pending.size > 0) {
        const { index, stream, done, value } = await Promise.race(pending.values());
        if (done) pending.delete(index);
        else {
          yield { stream, data: value };
          pending.set(index, next(index));
        }
      }
    } finally {
      for (const { reader, fd } of readers) {
        await reader.cancel().catch(() => {});
        fd.close();
      }
    }
  }
  return {
    chunks: merge(),
    stop: () => {
      for (const { reader } of readers) void reader.cancel().catch(() => {});
    },
  };
}

/** What an attached reader may be behind before it is cut off. */
const QUEUE_LIMIT_BYTES = 8 * 1024 * 1024;

/** A queue between the log's reader, which waits for nobody, and one attached session. */
export function newOutputQueue(): {
  readonly push: (chunk: OutputChunk) => void;
  readonly end: () => void;
  readonly chunks: AsyncIterable<OutputChunk>;
} {
  const queue: OutputChunk[] = [];
  let size = 0;
  let ended = false;
  let wake = () => {};
  async function* drain(): AsyncGenerator<OutputChunk> {
    for (;;) {
      const chunk = queue.shift();
      if (chunk !== undefined) {
        size -= chunk.data.length;
        yield chunk;
      } else if (ended) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  return {
    push(chunk) {
      if (ended) return;
      if (size + chunk.data.length > QUEUE_LIMIT_BYTES) ended = true;
      else {
        queue.push(chunk);
        size += chunk.data.length;
      }
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    chunks: drain(),
  };
}

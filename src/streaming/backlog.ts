// SPDX-License-Identifier: Apache-2.0
import { messageOf, ResourceExhaustedError } from "../errors.ts";
import type { OutputChunk } from "./output.ts";
import { SpillFile, type SpillLimits } from "./spill-file.ts";

const MIB = 1024 * 1024;

export interface BacklogLimits extends SpillLimits {
  /** What waits for a reader in memory; more goes to disk. */
  readonly memoryBytes: number;
}

const DEFAULT_LIMITS: BacklogLimits = { memoryBytes: MIB, fileBytes: 256 * MIB, totalBytes: 1024 * MIB };

/** Output between the log's reader, which waits for nobody, and one attached session. */
export interface Backlog {
  push(chunk: OutputChunk): void;
  /** No more comes; what waits is still delivered. */
  end(): void;
  /** The reader has left: what waits is dropped. */
  stop(): void;
  /** To be read once; throws what `failed` says when the reader fell too far behind. */
  readonly chunks: AsyncIterable<OutputChunk>;
  /** Settles with the reason when the backlog has given its reader up. */
  readonly failed: Promise<Error>;
}

/**
 * An empty backlog that keeps in `directory` what has no room in memory. A slow reader loses nothing and
 * holds nobody back, until it is so far behind that the disk is no place for it either.
 */
export function newBacklog(directory: string, limits = DEFAULT_LIMITS): Backlog {
  const queue: OutputChunk[] = [];
  const failure = Promise.withResolvers<Error>();
  let error: Error | undefined;
  let queuedBytes = 0;
  let spill: SpillFile | undefined;
  let hasEnded = false;
  let wake = () => {};
  const stop = () => {
    hasEnded = true;
    queue.length = 0;
    spill?.close();
    spill = undefined;
    wake();
  };
  const fail = (reason: string) => {
    error = new ResourceExhaustedError(
      `this session is too far behind what the container writes and was ended: ${reason}; the container's log has everything`,
    );
    failure.resolve(error);
    stop();
  };
  const toDisk = (chunk: OutputChunk) => {
    try {
      spill ??= new SpillFile(directory, limits);
      if (!spill.append(chunk)) fail("what waits for it has no more room on disk");
    } catch (cause) {
      fail(messageOf(cause));
    }
  };
  const take = (): OutputChunk | undefined => {
    const chunk = queue.shift();
    if (chunk !== undefined) {
      queuedBytes -= chunk.data.length;
      return chunk;
    }
    const spilled = spill?.take();
    if (spill?.isEmpty) {
      spill.close();
      spill = undefined;
    }
    return spilled;
  };
  async function* drain(): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const chunk = take();
        if (chunk !== undefined) yield chunk;
        else if (error !== undefined) throw error;
        else if (hasEnded) return;
        else {
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          await promise;
        }
      }
    } finally {
      stop();
    }
  }
  return {
    push(chunk) {
      if (hasEnded) return;
      if (spill === undefined && queuedBytes + chunk.data.length <= limits.memoryBytes) {
        queue.push(chunk);
        queuedBytes += chunk.data.length;
      } else toDisk(chunk);
      wake();
    },
    end() {
      hasEnded = true;
      wake();
    },
    stop,
    chunks: drain(),
    failed: failure.promise,
  };
}

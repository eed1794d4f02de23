// SPDX-License-Identifier: Apache-2.0

/**
 * Chunks between a source that pushes and one reader. The queue itself refuses nothing: its owner holds
 * the source back while `bytes` is above a bound and lets it go on when `onTaken` tells that it is not.
 */
export class ChunkQueue implements AsyncIterable<Uint8Array> {
  readonly #onTaken: () => void;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #state: "open" | "ended" | "abandoned" = "open";
  #failure: Error | undefined;
  #wake = () => {};

  constructor(onTaken: () => void = () => {}) {
    this.#onTaken = onTaken;
  }

  /** Bytes that the reader has not taken yet. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a chunk, which is the queue's from then on; dropped once the queue has ended or its reader has left. */
  push(chunk: Uint8Array): void {
    if (this.#state !== "open" || chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#wake();
  }

  /** No more comes; with a failure the reader gets it after what is queued. */
  end(failure?: Error): void {
    if (this.#state !== "open") return;
    this.#state = "ended";
    this.#failure = failure;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#bytes -= chunk.length;
          this.#onTaken();
          yield chunk;
        } else if (this.#state !== "open") {
          if (this.#failure !== undefined) throw this.#failure;
          return;
        } else {
          const { promise, resolve } = Promise.withResolvers<void>();
          this.#wake = resolve;
          await promise;
        }
      }
    } finally {
      this.#state = "abandoned";
      this.#chunks.length = 0;
      this.#bytes = 0;
      this.#onTaken();
    }
  }
}

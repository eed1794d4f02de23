// SPDX-License-Identifier: Apache-2.0

/** Messages on their way to the daemon, from several sources in their order. */
export interface InputQueue<T> extends AsyncIterable<T> {
  /** Resolves once there is room for more, so that a fast source waits for a slow daemon. */
  push(message: T): Promise<void>;
  /** No more will come. */
  end(): void;
}

const MAX_QUEUED = 16;

export function inputQueue<T>(): InputQueue<T> {
  const queued: T[] = [];
  let hasEnded = false;
  let changed = Promise.withResolvers<void>();
  const tell = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  return {
    async push(message) {
      if (hasEnded) return;
      queued.push(message);
      tell();
      while (queued.length >= MAX_QUEUED && !hasEnded) await changed.promise;
    },
    end() {
      hasEnded = true;
      tell();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const message = queued.shift();
        if (message !== undefined) {
          tell();
          yield message;
        } else if (hasEnded) return;
        else await changed.promise;
      }
    },
  };
}

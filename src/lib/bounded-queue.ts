// SPDX-License-Identifier: Apache-2.0

/** A queue between one that pushes and cannot wait, and one reader that takes its time. */
export interface BoundedQueue<T> {
  /** Appends an item; nothing happens once the queue has ended. */
  push(item: T): void;
  /** The reader gets what is queued, and then the end. */
  end(): void;
  /** What is queued is dropped, and the reader gets `error`. The first failure or end counts. */
  fail(error: unknown): void;
  /** For one loop; leaving it ends the queue. */
  readonly items: AsyncGenerator<T, void, undefined>;
}

/** A queue of at most `limit` items; one more makes it fail with `overflow()`. */
export function newBoundedQueue<T>(limit: number, overflow: () => unknown): BoundedQueue<T> {
  let queued: T[] = [];
  let outcome: { readonly error?: unknown } | undefined;
  let wake = () => {};
  const settle = (result: { readonly error?: unknown }) => {
    outcome ??= result;
    wake();
  };
  const fail = (error: unknown) => {
    if (outcome === undefined) queued = [];
    settle({ error });
  };
  async function* read(): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const batch = queued;
        queued = [];
        // Failing drops also what this batch still has.
        for (const item of batch) if (!isFailed(outcome)) yield item;
        if (queued.length > 0) continue;
        if (isFailed(outcome)) throw outcome.error;
        if (outcome !== undefined) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      settle({});
      queued = [];
    }
  }
  return {
    push(item) {
      if (outcome !== undefined) return;
      if (queued.length >= limit) return fail(overflow());
      queued.push(item);
      wake();
    },
    end: () => settle({}),
    fail,
    items: read(),
  };
}

function isFailed(outcome: object | undefined): outcome is { readonly error: unknown } {
  return outcome !== undefined && "error" in outcome;
}

/**
 * The items of `queue` until `signal` aborts, which makes it fail with the signal's reason. `leave` is called once
 * nobody reads any more.
 */
export function itemsUntil<T>(
  queue: BoundedQueue<T>,
  signal: AbortSignal,
  leave: () => void,
): AsyncIterable<T> {
  const end = () => {
    signal.removeEventListener("abort", onAbort);
    leave();
  };
  const onAbort = () => {
    queue.fail(signal.reason);
    end();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  return drain(queue, end);
}

async function* drain<T>(queue: BoundedQueue<T>, end: () => void): AsyncGenerator<T> {
  try {
    yield* queue.items;
  } finally {
    end();
  }
}

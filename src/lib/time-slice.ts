// SPDX-License-Identifier: Apache-2.0

/**
 * Long work on the one thread, cut into slices: call `next` between its parts, and whenever they have taken
 * `ms` milliseconds the event loop gets a turn.
 */
export class TimeSlice {
  readonly #ms: number;
  #end: number;

  constructor(ms = 4) {
    this.#ms = ms;
    this.#end = performance.now() + ms;
  }

  /** Waits for nothing while the slice lasts. Rejects with the signal's reason once that is aborted. */
  async next(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (performance.now() < this.#end) return;
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.#end = performance.now() + this.#ms;
  }
}

// SPDX-License-Identifier: Apache-2.0

export interface ReceiveBounds {
  /** Of one stream: received and not yet consumed. */
  readonly maxBufferedBytes: number;
  /** The same, of all streams of the connection together. */
  readonly maxConnectionBufferedBytes: number;
}

/** Counts what the streams of a connection hold, and says when reading has to wait for their owners. */
export class ReceiveBudget {
  readonly #bounds: ReceiveBounds;
  readonly #onChange: () => void;
  readonly #full = new Set<object>();
  #total = 0;
  #isTotalFull = false;

  /** `onChange` is called when `isExceeded` may have changed. */
  constructor(bounds: ReceiveBounds, onChange: () => void) {
    this.#bounds = bounds;
    this.#onChange = onChange;
  }

  /** From when a bound is passed until half of it is free again. */
  get isExceeded(): boolean {
    return this.#isTotalFull || this.#full.size > 0;
  }

  /** A buffer holds `bytes` more, or fewer, than before. */
  changed(buffer: { readonly size: number }, bytes: number): void {
    this.#total += bytes;
    const { maxBufferedBytes, maxConnectionBufferedBytes } = this.#bounds;
    const wasExceeded = this.isExceeded;
    if (buffer.size > maxBufferedBytes) this.#full.add(buffer);
    else if (buffer.size <= maxBufferedBytes / 2) this.#full.delete(buffer);
    if (this.#total > maxConnectionBufferedBytes) this.#isTotalFull = true;
    else if (this.#total <= maxConnectionBufferedBytes / 2) this.#isTotalFull = false;
    if (wasExceeded !== this.isExceeded) this.#onChange();
  }
}

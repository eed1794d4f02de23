// SPDX-License-Identifier: Apache-2.0
import { nowNs } from "../container/runtime.ts";

/** A value with the time at which it was read, in nanoseconds since 1970. */
export interface Aged<T> {
  readonly value: T;
  readonly atNs: bigint;
  /** Whether it was read for this very call. */
  readonly isNew: boolean;
}

interface Entry<T> {
  readonly value: T;
  readonly atNs: bigint;
  readonly atMs: number;
}

/** Values by key, read again once they have come of age: many who ask at a time cost one reading. */
export class AgedCache<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #maxAgeMs: number;

  constructor(maxAgeMs: number) {
    this.#maxAgeMs = maxAgeMs;
  }

  /** What `read` throws is thrown on, and nothing is kept. */
  get(key: string, read: () => T): Aged<T> {
    const known = this.#entries.get(key);
    if (known !== undefined && performance.now() - known.atMs < this.#maxAgeMs) {
      return { value: known.value, atNs: known.atNs, isNew: false };
    }
    const entry = { value: read(), atNs: BigInt(nowNs()), atMs: performance.now() };
    this.#entries.set(key, entry);
    return { value: entry.value, atNs: entry.atNs, isNew: true };
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Of what is kept. */
  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }
}

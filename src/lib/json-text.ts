// SPDX-License-Identifier: Apache-2.0

/**
 * JSON that is rarely asked for, kept as its text: one string instead of hundreds of objects, each of which would hold on
 * to the block of the heap that it lies in. What was parsed is handed out again for as long as the collector leaves it,
 * and is not to be changed.
 */
export class JsonText<T extends object> {
  readonly text: string;
  #parsed: WeakRef<T>;

  constructor(value: T) {
    this.text = JSON.stringify(value);
    this.#parsed = new WeakRef(value);
  }

  get value(): T {
    const known = this.#parsed.deref();
    if (known !== undefined) return known;
    const parsed = JSON.parse(this.text) as T;
    this.#parsed = new WeakRef(parsed);
    return parsed;
  }

  /** As a part of other JSON it is what it was made of. */
  toJSON(): T {
    return this.value;
  }
}

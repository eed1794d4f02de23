// SPDX-License-Identifier: Apache-2.0
import { twice } from "./twice.ts";

type Undo = { readonly description: string; readonly run: () => void | Promise<void> };

/**
 * Undo steps of a piece of work, run last-in-first-out unless the work calls `release`.
 *
 * Use as `await using cleanup = new Cleanup()`, register each undo on the line after the step it
 * reverses, and call `release()` as the last statement. An undo must be fine with finding its work done: one that
 * fails, for want of memory, say, is tried once more. When that fails too the others go on, and `onFailure` hears of it.
 */
export class Cleanup implements AsyncDisposable {
  #undos: Undo[] = [];
  readonly #onFailure: (description: string, error: unknown) => void;

  constructor(onFailure: (description: string, error: unknown) => void = () => {}) {
    this.#onFailure = onFailure;
  }

  /** Registers `run` as the inverse of the step just done. */
  add(description: string, run: () => void | Promise<void>): void {
    this.#undos.push({ description, run });
  }

  /** The work succeeded: nothing is to be undone. */
  release(): void {
    this.#undos = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const undos = this.#undos;
    this.#undos = [];
    for (const undo of undos.reverse()) {
      try {
        await twice(undo.run);
      } catch (error) {
        this.#onFailure(undo.description, error);
      }
    }
  }
}

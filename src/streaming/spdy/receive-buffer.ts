// SPDX-License-Identifier: Apache-2.0
import type { ReceiveBudget } from "./receive-budget.ts";

/** Pieces smaller than this, or than a quarter of the memory that they are a view of, are copied when they wait. */
const SMALL_BYTES = 4 * 1024;
const BLOCK_BYTES = 64 * 1024;

interface Waiter {
  readonly resolve: (result: IteratorResult<Uint8Array, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

const DONE: IteratorResult<Uint8Array, undefined> = { done: true, value: undefined };

/**
 * What a stream has received and its owner has not consumed, as an iterator for one reader. A reader that stops early
 * (`break` out of `for await`) has what follows discarded.
 *
 * Small pieces are gathered in blocks: thousands of them neither cost an object each nor hold the chunks of the
 * socket that they came in, so that the memory of a buffer is at most four times what it counts, and one block.
 */
export class ReceiveBuffer implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #budget: ReceiveBudget;
  readonly #pieces: Uint8Array[] = [];
  readonly #waiters: Waiter[] = [];
  #size = 0;
  /** Memory for small pieces, written up to `#blockLength`. */
  #block: Uint8Array | undefined;
  #blockLength = 0;
  /** Whether the last piece ends where the block's free room begins. */
  #isTailOpen = false;
  #end: "open" | "ended" | "failed" = "open";
  #error: unknown;

  constructor(budget: ReceiveBudget) {
    this.#budget = budget;
  }

  /** How many bytes wait. */
  get size(): number {
    return this.#size;
  }

  /** Hands a piece to a reader who waits, or keeps it. */
  push(piece: Uint8Array): void {
    if (piece.length === 0 || this.#end !== "open") return;
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve({ done: false, value: piece });
      return;
    }
    if (piece.length < SMALL_BYTES || piece.length < piece.buffer.byteLength / 4) this.#gather(piece);
    else {
      this.#pieces.push(piece);
      this.#isTailOpen = false;
    }
    this.#grow(piece.length);
  }

  /** The peer's half close: the iteration ends behind what waits. */
  end(): void {
    if (this.#end !== "open") return;
    this.#end = "ended";
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(DONE);
  }

  /** Nothing more will come, though the peer has not said so: the iteration throws behind what waits. */
  fail(error: unknown): void {
    if (this.#end !== "open") return;
    this.#end = "failed";
    this.#error = error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  /** Drops what waits: the iteration throws, unless it had nothing but its end before it. */
  abort(error: unknown): void {
    if (this.#size > 0 && this.#end === "ended") this.#end = "open";
    this.#clear();
    this.fail(error);
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const piece = this.#pieces.shift();
    if (piece !== undefined) {
      if (this.#pieces.length === 0) this.#isTailOpen = false;
      this.#grow(-piece.length);
      return Promise.resolve({ done: false, value: piece });
    }
    if (this.#end === "ended") return Promise.resolve(DONE);
    if (this.#end === "failed") return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array, undefined>>();
    this.#waiters.push({ resolve, reject });
    return promise;
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.discard();
    return Promise.resolve(DONE);
  }

  /** Drops what waits and whatever still comes. */
  discard(): void {
    this.#clear();
    this.end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #gather(piece: Uint8Array): void {
    for (let rest = piece; rest.length > 0; ) {
      if (this.#block === undefined || this.#blockLength === this.#block.length) {
        this.#block = new Uint8Array(rest.length < SMALL_BYTES ? SMALL_BYTES : BLOCK_BYTES);
        this.#blockLength = 0;
        this.#isTailOpen = false;
      }
      const start = this.#blockLength;
      const end = Math.min(start + rest.length, this.#block.length);
      this.#block.set(rest.subarray(0, end - start), start);
      rest = rest.subarray(end - start);
      this.#blockLength = end;
      const tailStart = this.#isTailOpen ? start - this.#pieces.pop()!.length : start;
      this.#pieces.push(this.#block.subarray(tailStart, end));
      this.#isTailOpen = true;
    }
  }

  #clear(): void {
    this.#pieces.length = 0;
    this.#block = undefined;
    this.#isTailOpen = false;
    this.#grow(-this.#size);
  }

  #grow(bytes: number): void {
    this.#size += bytes;
    this.#budget.changed(this, bytes);
  }
}

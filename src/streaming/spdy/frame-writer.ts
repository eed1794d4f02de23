// SPDX-License-Identifier: Apache-2.0
import type { Duplex } from "node:stream";
import { dataFrames, finFrame } from "./frame.ts";

/** What a stream sends before the next stream that waits has its turn. */
const TURN_BYTES = 64 * 1024;
/** Smaller frames are gathered up to this size, or to the end of the tick, and go in one system call. */
const BATCH_BYTES = 16 * 1024;

interface WaitingWrite {
  rest: Uint8Array;
  /** Ends the stream behind `rest`. */
  readonly fin: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const NOTHING = new Uint8Array(0);
const SENT = Promise.resolve();

/**
 * Puts frames on a connection. Data waits while the socket is full, and the streams that wait take turns; control
 * frames do not wait, because the bound on them is what was received.
 */
export class FrameWriter {
  readonly #socket: Duplex;
  /** Writes that wait, by stream, in the order of their turns. */
  readonly #waiting = new Map<number, WaitingWrite[]>();
  /** Half closes that the socket has and the kernel has not. */
  readonly #flushing = new Set<WaitingWrite>();
  #onIdle: (() => void) | undefined;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #onBatchFlushed: (() => void)[] = [];

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on("drain", () => this.#pump());
  }

  control(frame: Uint8Array): void {
    this.#put(frame);
  }

  /** Sends `frame` last and ends the socket. */
  end(frame: Uint8Array): void {
    this.#put(frame);
    this.#flushBatch();
    this.#socket.end();
  }

  /** Resolves when all of `data` is with the socket, which takes it as fast as the peer reads. */
  write(streamId: number, data: Uint8Array): Promise<void> {
    let rest = data;
    while (rest.length > 0 && this.#waiting.size === 0 && !this.#socket.writableNeedDrain) {
      this.#put(dataFrames(streamId, rest.subarray(0, TURN_BYTES)));
      rest = rest.subarray(TURN_BYTES);
    }
    return rest.length === 0 ? SENT : this.#wait(streamId, rest, false);
  }

  /** Half closes behind what the stream has written; resolves when the kernel has the last byte. */
  finish(streamId: number): Promise<void> {
    return this.#wait(streamId, NOTHING, true);
  }

  /** Rejects what a stream waits to write. */
  cancel(streamId: number, error: unknown): void {
    const writes = this.#waiting.get(streamId) ?? [];
    this.#waiting.delete(streamId);
    for (const write of writes) write.reject(error);
    this.#notifyIdle();
  }

  /** Rejects whatever has not left yet. */
  cancelAll(error: unknown): void {
    for (const streamId of [...this.#waiting.keys()]) this.cancel(streamId, error);
    for (const write of this.#flushing) write.reject(error);
    this.#flushing.clear();
  }

  /** Calls `onIdle` once, as soon as no write waits. */
  whenIdle(onIdle: () => void): void {
    this.#onIdle = onIdle;
    this.#notifyIdle();
  }

  #wait(streamId: number, rest: Uint8Array, fin: boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const write = { rest, fin, resolve, reject };
    const writes = this.#waiting.get(streamId);
    if (writes === undefined) this.#waiting.set(streamId, [write]);
    else writes.push(write);
    this.#pump();
    return promise;
  }

  #pump(): void {
    while (!this.#socket.writableNeedDrain) {
      const [entry] = this.#waiting;
      if (entry === undefined) break;
      const [streamId, writes] = entry;
      this.#waiting.delete(streamId);
      this.#takeTurn(streamId, writes);
      if (writes.length > 0) this.#waiting.set(streamId, writes);
    }
    this.#notifyIdle();
  }

  #takeTurn(streamId: number, writes: WaitingWrite[]): void {
    const write = writes[0]!;
    if (write.rest.length > 0) {
      this.#put(dataFrames(streamId, write.rest.subarray(0, TURN_BYTES)));
      write.rest = write.rest.subarray(TURN_BYTES);
    }
    if (write.rest.length > 0) return;
    writes.shift();
    if (write.fin) this.#sendFin(streamId, write);
    else write.resolve();
  }

  #sendFin(streamId: number, write: WaitingWrite): void {
    this.#flushing.add(write);
    this.#put(finFrame(streamId), () => {
      this.#flushing.delete(write);
      write.resolve();
    });
  }

  #put(frames: Uint8Array, onFlushed?: () => void): void {
    if (frames.length >= BATCH_BYTES) {
      this.#flushBatch();
      this.#socket.write(frames, onFlushed);
      return;
    }
    if (this.#batch.length === 0) process.nextTick(() => this.#flushBatch());
    this.#batch.push(frames);
    this.#batchBytes += frames.length;
    if (onFlushed !== undefined) this.#onBatchFlushed.push(onFlushed);
    if (this.#batchBytes >= BATCH_BYTES) this.#flushBatch();
  }

  #flushBatch(): void {
    if (this.#batch.length === 0) return;
    const frames = Buffer.concat(this.#batch, this.#batchBytes);
    const listeners = this.#onBatchFlushed;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#onBatchFlushed = [];
    this.#socket.write(frames, () => {
      for (const listener of listeners) listener();
    });
  }

  #notifyIdle(): void {
    if (this.#waiting.size > 0 || this.#onIdle === undefined) return;
    const onIdle = this.#onIdle;
    this.#onIdle = undefined;
    onIdle();
  }
}

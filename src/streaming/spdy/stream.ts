// SPDX-License-Identifier: Apache-2.0
import { CanceledError, FailedPreconditionError } from "../../errors.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { ReceiveBudget } from "./receive-budget.ts";
import { ReceiveBuffer } from "./receive-buffer.ts";

/** A stream that the peer has opened. */
export interface SpdyStream {
  readonly id: number;
  /** Names in lower case; several values of one name are joined by NUL. */
  readonly headers: ReadonlyMap<string, string>;
  /** Sends SYN_REPLY. Called once by the owner, before the first write; the peer drops data that comes earlier. */
  accept(): void;
  /**
   * Ends both halves with RST_STREAM and `status` (1 protocol error, 3 refused, 5 cancel): what waits in either
   * direction is dropped, what the peer still sends is discarded. Does nothing when the stream is over.
   */
  reset(status: number): void;
  /**
   * What the peer sends, in order, to its half close; for one reader. Throws a CanceledError when the peer resets the
   * stream before that, an UnavailableError when the connection is lost before that. Consuming is the back-pressure;
   * a reader that stops early has the rest discarded.
   */
  readonly incoming: AsyncIterable<Uint8Array>;
  /** Discards what the peer sends, now and later, for a stream that is only written to: it never holds others back. */
  discardIncoming(): void;
  /**
   * Resolves when the connection has taken `data`: waiting for it is the back-pressure. `data` is not used any more
   * then. Rejects when the stream or the connection has ended, or this half has.
   */
  write(data: Uint8Array): Promise<void>;
  /** Half closes behind what was written; resolves when all of it has left the process. Rejects as `write` does. */
  end(): Promise<void>;
  /** Resolves when both halves are closed, the stream is reset or the connection is over. */
  readonly closed: Promise<void>;
}

/** What a stream does with the connection that it is part of. */
export interface StreamHost {
  readonly writer: FrameWriter;
  readonly budget: ReceiveBudget;
  sendReply(streamId: number): void;
  sendReset(streamId: number, status: number): void;
  /** The stream is over, and what still comes for it is discarded. */
  forget(streamId: number): void;
}

/** A stream as its connection sees it. */
export class ServerStream implements SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly closed: Promise<void>;
  readonly #host: StreamHost;
  readonly #incoming: ReceiveBuffer;
  readonly #resolveClosed: () => void;
  /** Of the half that this side writes. `ended` comes with `end`, before its frame has left. */
  #writing: "unaccepted" | "open" | "ended" = "unaccepted";
  #hasFinLeft = false;
  #hasFinCome = false;
  #isOver = false;
  /** Why the stream or its connection has ended. */
  #error: Error | undefined;

  constructor(host: StreamHost, id: number, headers: ReadonlyMap<string, string>) {
    this.#host = host;
    this.id = id;
    this.headers = headers;
    this.#incoming = new ReceiveBuffer(host.budget);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  get incoming(): AsyncIterable<Uint8Array> {
    return this.#incoming;
  }

  discardIncoming(): void {
    this.#incoming.discard();
  }

  accept(): void {
    if (this.#isOver || this.#writing !== "unaccepted") return;
    this.#writing = "open";
    this.#host.sendReply(this.id);
  }

  reset(status: number): void {
    if (this.#isOver) return;
    this.#host.sendReset(this.id, status);
    const error = new FailedPreconditionError(`SPDY stream ${this.id} was reset`);
    this.#incoming.abort(error);
    this.#finish(error);
  }

  write(data: Uint8Array): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#host.writer.write(this.id, data);
  }

  async end(): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    this.#writing = "ended";
    await this.#host.writer.finish(this.id);
    this.#hasFinLeft = true;
    this.#finishWhenDone();
  }

  /** DATA came; `fin` is the peer's half close. */
  receive(data: Uint8Array, fin: boolean): void {
    this.#incoming.push(data);
    if (!fin) return;
    this.#hasFinCome = true;
    this.#incoming.end();
    this.#finishWhenDone();
  }

  /** RST_STREAM came. */
  resetByPeer(status: number): void {
    const error = new CanceledError(`SPDY stream ${this.id} was reset by the client, status ${status}`);
    this.#dropUnlessWhole(error);
    this.#finish(error);
  }

  /** The connection is being closed from this side: what was written still leaves, nothing more is taken. */
  leave(error: Error): void {
    this.#error = error;
    this.#dropUnlessWhole(error);
  }

  /** The connection is over. What came before stays readable. */
  lose(error: Error): void {
    this.#finish(error);
  }

  /** What came before a half close is whole, and its reader may have it; otherwise it is a torn piece. */
  #dropUnlessWhole(error: Error): void {
    if (!this.#hasFinCome) this.#incoming.abort(error);
  }

  #refusal(): Error | undefined {
    if (this.#error !== undefined) return this.#error;
    if (this.#writing === "open") return undefined;
    const state = this.#writing === "ended" ? "has ended" : "is not accepted yet";
    return new FailedPreconditionError(`SPDY stream ${this.id} ${state}`);
  }

  #finishWhenDone(): void {
    if (this.#hasFinLeft && this.#hasFinCome) this.#finish();
  }

  /** Without an error: both halves are closed. */
  #finish(error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (error !== undefined) {
      this.#error ??= error;
      this.#host.writer.cancel(this.id, error);
      this.#incoming.fail(error);
    }
    this.#host.forget(this.id);
    this.#resolveClosed();
  }
}

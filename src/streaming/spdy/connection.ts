// SPDX-License-Identifier: Apache-2.0
import type { Duplex } from "node:stream";
import { FailedPreconditionError, messageOf, UnavailableError } from "../../errors.ts";
import { logger } from "../../lib/logger.ts";
import {
  type ControlFrame,
  decodeControlFrame,
  emptySettings,
  GOAWAY,
  goAway,
  ping,
  RESET,
  rstStream,
  SpdyProtocolError,
  synReply,
} from "./frame.ts";
import { type FrameHandler, FrameParser } from "./frame-parser.ts";
import { FrameWriter } from "./frame-writer.ts";
import { HeaderBlockReader, HeaderBlockWriter } from "./header-block.ts";
import { ReceiveBudget } from "./receive-budget.ts";
import { ServerStream, type SpdyStream, type StreamHost } from "./stream.ts";

export type { SpdyStream } from "./stream.ts";

export interface SpdyLimits {
  /** Open at once; further ones are refused with RST_STREAM. */
  readonly maxStreams: number;
  /** Headers of one block. */
  readonly maxHeaders: number;
  /** Of one header block after inflation. */
  readonly maxHeaderBytes: number;
  /** Of one control frame. DATA frames may be of any size, since no one waits for a whole one. */
  readonly maxFrameBytes: number;
  /** Of one stream, received and not yet consumed; beyond it the socket is not read. */
  readonly maxBufferedBytes: number;
  /** The same, of all streams of the connection together. */
  readonly maxConnectionBufferedBytes: number;
  /** While the socket is not read, how often the peer is sent something that asks for no answer. */
  readonly probeIntervalMs: number;
  /** From `close` until the socket is destroyed, flushed or not. */
  readonly closeTimeoutMs: number;
}

const DEFAULT_LIMITS: SpdyLimits = {
  maxStreams: 1000,
  maxHeaders: 64,
  maxHeaderBytes: 16 * 1024,
  maxFrameBytes: 64 * 1024,
  maxBufferedBytes: 1024 * 1024,
  maxConnectionBufferedBytes: 16 * 1024 * 1024,
  probeIntervalMs: 5000,
  closeTimeoutMs: 10_000,
};

/** Answers that a peer has asked for and does not read: beyond it the socket is not read. */
const MAX_UNREAD_ANSWER_BYTES = 1024 * 1024;

const NOTHING = new Uint8Array(0);

export interface SpdyConnection {
  /** Resolves when the connection is over, whoever ended it; never rejects. */
  readonly closed: Promise<void>;
  /**
   * Flushes what was written, sends GOAWAY last and ends the socket; what the peer still sends is discarded. Resolves
   * when the peer has closed its side too, or when the wait for that has been long enough.
   */
  close(): Promise<void>;
  destroy(): void;
}

export interface ServeOptions {
  /** Bytes that came with the upgrade. */
  readonly head?: Uint8Array;
  /** Hears of each stream that the peer opens, after `serveSpdy` has returned. */
  readonly onStream: (stream: SpdyStream) => void;
  readonly limits?: Partial<SpdyLimits>;
}

/**
 * Serves SPDY/3.1 on a connection whose HTTP upgrade is done. Takes over `socket`.
 *
 * Peers (moby/spdystream) know no flow control but the socket's. So when a stream holds more than its bound, the socket
 * is not read until half of that is consumed: what other streams were sent waits behind it, as with the servers that
 * these peers were written for. Whoever does not want what a stream is sent says so with `discardIncoming`.
 *
 * Writing goes on meanwhile, and a peer that has gone is noticed by writing to it: an empty SETTINGS frame now and
 * then. It is no PING, because a peer that is blocked in a write could not answer one, and would stop reading.
 *
 * Nothing that a peer sends throws: what breaks the protocol or a bound is answered with GOAWAY, and the connection is
 * closed.
 */
export function serveSpdy(socket: Duplex, options: ServeOptions): SpdyConnection {
  return new ServerConnection(socket, options);
}

class ServerConnection implements SpdyConnection, FrameHandler, StreamHost {
  readonly closed: Promise<void>;
  readonly writer: FrameWriter;
  readonly budget: ReceiveBudget;
  readonly #socket: Duplex;
  readonly #limits: SpdyLimits;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #parser: FrameParser;
  readonly #headerReader: HeaderBlockReader;
  readonly #headerWriter = new HeaderBlockWriter();
  readonly #streams = new Map<number, ServerStream>();
  readonly #resolveClosed: () => void;
  #phase: "open" | "closing" | "over" = "open";
  #lastStreamId = 0;
  #hasPeerLeft = false;
  /** Runs while the socket is not read. */
  #probe: ReturnType<typeof setInterval> | undefined;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: Duplex, { head, onStream, limits }: ServeOptions) {
    this.#socket = socket;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#onStream = onStream;
    this.#parser = new FrameParser(this, this.#limits.maxFrameBytes);
    this.#headerReader = new HeaderBlockReader(this.#limits);
    this.writer = new FrameWriter(socket);
    this.budget = new ReceiveBudget(this.#limits, () => this.#adjustReading());
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    socket.on("error", (error) => this.#end(lostConnection(error)));
    socket.on("close", () => this.#end(lostConnection()));
    socket.on("end", () => this.#endWhenBothLeft());
    socket.on("finish", () => this.#endWhenBothLeft());
    socket.on("drain", () => this.#adjustReading());
    queueMicrotask(() => this.#start(head));
  }

  close(): Promise<void> {
    if (this.#phase === "open") {
      this.#leave(GOAWAY.OK, new FailedPreconditionError("the SPDY connection was closed"));
    }
    return this.closed;
  }

  destroy(): void {
    this.#end(new FailedPreconditionError("the SPDY connection was closed"));
  }

  sendReply(streamId: number): void {
    this.#send(synReply(streamId, this.#headerWriter.empty()));
  }

  sendReset(streamId: number, status: number): void {
    this.#send(rstStream(streamId, status));
  }

  forget(streamId: number): void {
    this.#streams.delete(streamId);
    if (this.#hasPeerLeft && this.#streams.size === 0) void this.close();
  }

  onData(streamId: number, data: Uint8Array, fin: boolean): void {
    if (this.#phase !== "open") return;
    if (streamId > this.#lastStreamId) {
      throw new SpdyProtocolError(`a DATA frame belongs to stream ${streamId}, which was never opened`);
    }
    this.#streams.get(streamId)?.receive(data, fin);
  }

  onControl(type: number, flags: number, payload: Uint8Array): void {
    if (this.#phase !== "open") return;
    const frame = decodeControlFrame(type, flags, payload);
    switch (frame?.type) {
      case "SYN_STREAM":
        this.#open(frame);
        break;
      case "SYN_REPLY":
        throw new SpdyProtocolError(
          `stream ${frame.streamId} is replied to, but was not opened by the server`,
        );
      case "HEADERS":
        // Their text means nothing here, but later blocks are compressed against it.
        this.#headerReader.read(frame.headerBlock);
        if (frame.fin) this.#streams.get(frame.streamId)?.receive(NOTHING, true);
        break;
      case "RST_STREAM":
        this.#streams.get(frame.streamId)?.resetByPeer(frame.status);
        break;
      case "PING":
        // A client's own have odd ids; an even one would answer a PING of the server's.
        if (frame.id % 2 === 1) this.#send(ping(frame.id));
        break;
      case "GOAWAY":
        this.#hasPeerLeft = true;
        if (this.#streams.size === 0) void this.close();
    }
  }

  #start(head: Uint8Array | undefined): void {
    if (this.#socket.destroyed || this.#socket.readableEnded) this.#end(lostConnection());
    else {
      if (head !== undefined) this.#receive(head);
      this.#socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    }
  }

  #receive(chunk: Uint8Array): void {
    if (this.#phase !== "open") return;
    try {
      this.#parser.push(chunk);
      this.#adjustReading();
    } catch (error) {
      this.#refuse(error);
    }
  }

  #refuse(cause: unknown): void {
    if (this.#phase !== "open") return;
    if (cause instanceof SpdyProtocolError)
      logger.debug({ error: cause.message }, "a SPDY client broke the protocol");
    else logger.error({ err: cause }, "a SPDY connection could not be served");
    const error = new UnavailableError(`the SPDY connection was closed: ${messageOf(cause)}`, { cause });
    this.writer.cancelAll(error);
    this.#leave(GOAWAY.PROTOCOL_ERROR, error);
  }

  #open(frame: ControlFrame & { readonly type: "SYN_STREAM" }): void {
    const { streamId, fin } = frame;
    const headers = this.#headerReader.read(frame.headerBlock);
    if (streamId <= this.#lastStreamId || streamId % 2 === 0) {
      throw new SpdyProtocolError(`stream ${streamId} is opened after stream ${this.#lastStreamId}`);
    }
    this.#lastStreamId = streamId;
    if (this.#hasPeerLeft) return;
    // A stream without a way back could not even be accepted.
    if (frame.unidirectional || this.#streams.size >= this.#limits.maxStreams) {
      this.sendReset(streamId, RESET.REFUSED_STREAM);
      return;
    }
    const stream = new ServerStream(this, streamId, headers);
    this.#streams.set(streamId, stream);
    if (fin) stream.receive(NOTHING, true);
    try {
      this.#onStream(stream);
    } catch (error) {
      logger.error({ err: error }, "a SPDY stream could not be served");
      stream.reset(RESET.INTERNAL_ERROR);
    }
  }

  #send(frame: Uint8Array): void {
    if (this.#phase === "open") this.writer.control(frame);
  }

  /** Reads the socket, or does not, by what streams hold and what the peer leaves unread. */
  #adjustReading(): void {
    const { writableNeedDrain, writableLength } = this.#socket;
    const isFlooded = writableNeedDrain && writableLength > MAX_UNREAD_ANSWER_BYTES;
    const mustWait = this.#phase === "open" && (this.budget.isExceeded || isFlooded);
    if (mustWait === (this.#probe !== undefined)) return;
    if (mustWait) {
      this.#socket.pause();
      this.#probe = setInterval(() => this.#sendProbe(), this.#limits.probeIntervalMs);
    } else {
      clearInterval(this.#probe);
      this.#probe = undefined;
      this.#socket.resume();
    }
  }

  #sendProbe(): void {
    // What waits to be written is a probe already.
    if (this.#socket.writableLength === 0) this.#send(emptySettings());
  }

  /** Nothing more is taken from the peer; GOAWAY goes behind what was written. */
  #leave(status: number, error: Error): void {
    this.#phase = "closing";
    for (const stream of this.#streams.values()) stream.leave(error);
    // Unread bytes would make the kernel reset the connection, and the peer lose the end of what it was sent.
    this.#adjustReading();
    this.#closeTimer = setTimeout(() => this.#end(error), this.#limits.closeTimeoutMs);
    this.writer.whenIdle(() => {
      if (this.#phase !== "closing") return;
      this.writer.end(goAway(this.#lastStreamId, status));
    });
  }

  #endWhenBothLeft(): void {
    if (this.#phase === "open") this.#end(lostConnection());
    else if (this.#socket.readableEnded && this.#socket.writableFinished) this.#end(lostConnection());
  }

  #end(error: Error): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    clearTimeout(this.#closeTimer);
    clearInterval(this.#probe);
    this.#probe = undefined;
    this.writer.cancelAll(error);
    for (const stream of [...this.#streams.values()]) stream.lose(error);
    this.#socket.destroy();
    this.#resolveClosed();
  }
}

function lostConnection(cause?: Error): Error {
  return new UnavailableError(
    `the SPDY connection was lost${cause === undefined ? "" : `: ${cause.message}`}`,
    {
      cause,
    },
  );
}

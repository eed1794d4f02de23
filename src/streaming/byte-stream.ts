// SPDX-License-Identifier: Apache-2.0

/** The half of a stream that is written to. */
export interface OutputStream {
  /**
   * Resolves when there is room for more, which is the back-pressure, and `data` is not used any more; rejects when the
   * stream is cut off. The `room` bytes before `data` in its buffer, none unless told, may be written over.
   */
  write(data: Uint8Array, room?: number): Promise<void>;
  /** Half close: nothing is written any more. */
  end(): Promise<void>;
}

/** The half of a stream that is read. */
export interface InputStream {
  /** What the other side sends, to its half close; throws when the stream was cut off. To be read once. */
  readonly incoming: AsyncIterable<Uint8Array>;
}

/** One stream of a session, whatever carries it: a SPDY stream, a channel of a WebSocket, a TCP connection. */
export interface ByteStream extends InputStream, OutputStream {
  /** Cuts the stream off in both directions. Idempotent; nothing happens to a stream that has ended. */
  cancel(): void;
}

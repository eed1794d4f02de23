// SPDX-License-Identifier: Apache-2.0

/** The half of a stream that is written to. */
export interface OutputStream {
  /** Resolves when there is room for more, which is the back-pressure; rejects when the stream is cut off. */
  write(data: Uint8Array): Promise<void>;
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

// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";

/** How a kind of frame looks: a header of fixed size that tells the length of the body, and the body. */
export interface FrameLayout {
  readonly name: string;
  readonly headerBytes: number;
  /** The bytes of the body, from a whole header; what it throws ends the reading. */
  readonly bodyBytesOf: (header: DataView) => number;
  /** The longest body that is taken. */
  readonly limitBytes: number;
}

export interface Frame {
  readonly header: DataView;
  readonly body: Uint8Array;
}

/** Bytes that come one at a time take more room than they are worth. */
const CHUNK_LIMIT = 1024;

/** Cuts a stream of bytes into frames; it keeps one that has not ended yet, and never more than that. */
export class FrameReader {
  readonly #layout: FrameLayout;
  #chunks: Uint8Array[] = [];
  #length = 0;
  #wanted: number;

  constructor(layout: FrameLayout) {
    this.#layout = layout;
    this.#wanted = layout.headerBytes;
  }

  /** The frames that `chunk` completes; InvalidArgumentError for one that is too long. */
  push(chunk: Uint8Array): Frame[] {
    if (this.#chunks.length >= CHUNK_LIMIT) this.#chunks = [Buffer.concat(this.#chunks)];
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | undefined {
    const { name, headerBytes, bodyBytesOf, limitBytes } = this.#layout;
    if (this.#length < this.#wanted) return undefined;
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Uint8Array) : Buffer.concat(this.#chunks);
    this.#chunks = [bytes];
    const header = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
    const bodyBytes = bodyBytesOf(header);
    if (bodyBytes > limitBytes) {
      throw new InvalidArgumentError("", `a ${name} frame of ${bodyBytes} bytes, more than ${limitBytes}`);
    }
    this.#wanted = headerBytes + bodyBytes;
    if (this.#length < this.#wanted) return undefined;
    const rest = bytes.subarray(this.#wanted);
    const body = bytes.subarray(headerBytes, this.#wanted);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    this.#wanted = headerBytes;
    return { header, body };
  }
}

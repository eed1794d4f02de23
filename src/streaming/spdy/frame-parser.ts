// SPDX-License-Identifier: Apache-2.0
import { decodeFrameHeader, type FrameHeader, SpdyProtocolError } from "./frame.ts";

/** Hears of frames in the order of their bytes, synchronously. */
export interface FrameHandler {
  /**
   * A piece of a DATA frame's payload, a view into the chunk that it came in. `fin` comes with the last piece, which
   * may be empty.
   */
  onData(streamId: number, data: Uint8Array, fin: boolean): void;
  /** A whole control frame; `payload` is not used again by the parser. */
  onControl(type: number, flags: number, payload: Uint8Array): void;
}

interface ControlPayload {
  readonly bytes: Uint8Array;
  length: number;
}

const NOTHING = new Uint8Array(0);

/**
 * Cuts a connection's bytes, in chunks of any size, into frames. Payloads of DATA frames are passed on as they come,
 * so that no size of frame needs a buffer; control frames are gathered and may not be longer than `maxControlBytes`.
 */
export class FrameParser {
  readonly #handler: FrameHandler;
  readonly #maxControlBytes: number;
  readonly #headerBytes = new Uint8Array(8);
  readonly #headerView = new DataView(this.#headerBytes.buffer);
  #headerLength = 0;
  /** The frame whose payload is being read, none between frames. */
  #frame: FrameHeader | undefined;
  #missing = 0;
  #control: ControlPayload = { bytes: NOTHING, length: 0 };

  constructor(handler: FrameHandler, maxControlBytes: number) {
    this.#handler = handler;
    this.#maxControlBytes = maxControlBytes;
  }

  /** Throws a SpdyProtocolError where the bytes are no frames, after which the parser is of no more use. */
  push(chunk: Uint8Array): void {
    for (let rest = chunk; rest.length > 0; ) {
      rest = this.#frame === undefined ? this.#takeHeader(rest) : this.#takePayload(this.#frame, rest);
    }
  }

  #takeHeader(bytes: Uint8Array): Uint8Array {
    const taken = Math.min(this.#headerBytes.length - this.#headerLength, bytes.length);
    this.#headerBytes.set(bytes.subarray(0, taken), this.#headerLength);
    this.#headerLength += taken;
    if (this.#headerLength === this.#headerBytes.length) {
      this.#headerLength = 0;
      this.#begin(decodeFrameHeader(this.#headerView));
    }
    return bytes.subarray(taken);
  }

  #begin(frame: FrameHeader): void {
    if (frame.kind === "control") {
      if (frame.length > this.#maxControlBytes) {
        throw new SpdyProtocolError(
          `a control frame announces ${frame.length} bytes, more than ${this.#maxControlBytes}`,
        );
      }
      this.#control = { bytes: new Uint8Array(frame.length), length: 0 };
    }
    this.#frame = frame;
    this.#missing = frame.length;
    if (frame.length === 0) this.#takePayload(frame, NOTHING);
  }

  #takePayload(frame: FrameHeader, bytes: Uint8Array): Uint8Array {
    const piece = bytes.length > this.#missing ? bytes.subarray(0, this.#missing) : bytes;
    this.#missing -= piece.length;
    const isLast = this.#missing === 0;
    if (isLast) this.#frame = undefined;
    if (frame.kind === "data") {
      this.#handler.onData(frame.streamId, piece, isLast && frame.fin);
    } else {
      this.#control.bytes.set(piece, this.#control.length);
      this.#control.length += piece.length;
      if (isLast) this.#handler.onControl(frame.type, frame.flags, this.#control.bytes);
    }
    return bytes.subarray(piece.length);
  }
}

// SPDX-License-Identifier: Apache-2.0

/** The peer broke SPDY/3.1: the connection cannot go on. */
export class SpdyProtocolError extends Error {}

/** Types of control frames: SPDY/3 draft, section 2.6. */
const FRAME_TYPE = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
} as const;

const FLAG_FIN = 1;
const FLAG_UNIDIRECTIONAL = 2;

/** Status codes of RST_STREAM: section 2.6.3. */
export const RESET = { PROTOCOL_ERROR: 1, REFUSED_STREAM: 3, CANCEL: 5, INTERNAL_ERROR: 6 } as const;

/** Status codes of GOAWAY: section 2.6.6. */
export const GOAWAY = { OK: 0, PROTOCOL_ERROR: 1 } as const;

const CONTROL_BIT = 0x8000;
const VERSION = 3;
const HEADER_BYTES = 8;

/** The payload of one DATA frame: what peers write themselves, and what they read in one piece. */
const DATA_BYTES = 32 * 1024;

/** The first eight bytes of a frame. */
export type FrameHeader =
  | { readonly kind: "data"; readonly streamId: number; readonly fin: boolean; readonly length: number }
  | { readonly kind: "control"; readonly type: number; readonly flags: number; readonly length: number };

/** Reads the eight bytes of `bytes`. A version other than 3 and a DATA frame of no stream are SpdyProtocolErrors. */
export function decodeFrameHeader(bytes: DataView): FrameHeader {
  const first = bytes.getUint16(0);
  const flagsAndLength = bytes.getUint32(4);
  const flags = flagsAndLength >>> 24;
  const length = flagsAndLength & 0xff_ffff;
  if ((first & CONTROL_BIT) === 0) {
    const streamId = bytes.getUint32(0);
    if (streamId === 0) throw new SpdyProtocolError("a DATA frame belongs to stream 0");
    return { kind: "data", streamId, fin: (flags & FLAG_FIN) !== 0, length };
  }
  const version = first & ~CONTROL_BIT;
  if (version !== VERSION)
    throw new SpdyProtocolError(`a frame is of SPDY version ${version}, not ${VERSION}`);
  return { kind: "control", type: bytes.getUint16(2), flags, length };
}

/** A control frame that means something to a server. Header blocks are still compressed. */
export type ControlFrame =
  | {
      readonly type: "SYN_STREAM";
      readonly streamId: number;
      readonly fin: boolean;
      readonly unidirectional: boolean;
      readonly headerBlock: Uint8Array;
    }
  | { readonly type: "SYN_REPLY"; readonly streamId: number; readonly headerBlock: Uint8Array }
  | {
      readonly type: "HEADERS";
      readonly streamId: number;
      readonly fin: boolean;
      readonly headerBlock: Uint8Array;
    }
  | { readonly type: "RST_STREAM"; readonly streamId: number; readonly status: number }
  | { readonly type: "PING"; readonly id: number }
  | { readonly type: "GOAWAY"; readonly lastStreamId: number; readonly status: number };

/**
 * Reads the payload of a control frame. Nothing comes of types that need no answer here: SETTINGS and WINDOW_UPDATE,
 * since there is no flow control below the socket's, and types that SPDY/3.1 does not know. A payload that is too
 * short, or not as long as its type has it, is a SpdyProtocolError.
 */
export function decodeControlFrame(
  type: number,
  flags: number,
  payload: Uint8Array,
): ControlFrame | undefined {
  const word = (offset: number) => wordAt(payload, offset);
  const streamId = () => {
    const id = word(0) & 0x7fff_ffff;
    if (id === 0) throw new SpdyProtocolError(`a control frame of type ${type} belongs to stream 0`);
    return id;
  };
  const fin = (flags & FLAG_FIN) !== 0;
  switch (type) {
    case FRAME_TYPE.SYN_STREAM:
      atLeast(type, payload, 10);
      return {
        type: "SYN_STREAM",
        streamId: streamId(),
        fin,
        unidirectional: (flags & FLAG_UNIDIRECTIONAL) !== 0,
        headerBlock: payload.subarray(10),
      };
    case FRAME_TYPE.SYN_REPLY:
      atLeast(type, payload, 4);
      return { type: "SYN_REPLY", streamId: streamId(), headerBlock: payload.subarray(4) };
    case FRAME_TYPE.HEADERS:
      atLeast(type, payload, 4);
      return { type: "HEADERS", streamId: streamId(), fin, headerBlock: payload.subarray(4) };
    case FRAME_TYPE.RST_STREAM:
      exactly(type, payload, 8);
      return { type: "RST_STREAM", streamId: streamId(), status: word(4) };
    case FRAME_TYPE.PING:
      exactly(type, payload, 4);
      return { type: "PING", id: word(0) };
    case FRAME_TYPE.GOAWAY:
      exactly(type, payload, 8);
      return { type: "GOAWAY", lastStreamId: word(0) & 0x7fff_ffff, status: word(4) };
    default:
      return undefined;
  }
}

function wordAt(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(offset);
}

function atLeast(type: number, payload: Uint8Array, bytes: number): void {
  if (payload.length < bytes) throw wrongLength(type, payload, `at least ${bytes}`);
}

function exactly(type: number, payload: Uint8Array, bytes: number): void {
  if (payload.length !== bytes) throw wrongLength(type, payload, `${bytes}`);
}

function wrongLength(type: number, payload: Uint8Array, wanted: string): SpdyProtocolError {
  return new SpdyProtocolError(
    `a control frame of type ${type} has ${payload.length} bytes of payload, not ${wanted}`,
  );
}

/** Accepts the peer's stream; `headerBlock` is as `encodeHeaderBlock` makes it. */
export function synReply(streamId: number, headerBlock: Uint8Array): Uint8Array {
  return controlFrame(FRAME_TYPE.SYN_REPLY, [streamId], headerBlock);
}

export function rstStream(streamId: number, status: number): Uint8Array {
  return controlFrame(FRAME_TYPE.RST_STREAM, [streamId, status]);
}

export function ping(id: number): Uint8Array {
  return controlFrame(FRAME_TYPE.PING, [id]);
}

export function goAway(lastStreamId: number, status: number): Uint8Array {
  return controlFrame(FRAME_TYPE.GOAWAY, [lastStreamId, status]);
}

/** Settings without an entry: a frame that says nothing and is answered by nothing. */
export function emptySettings(): Uint8Array {
  return controlFrame(FRAME_TYPE.SETTINGS, [0]);
}

function controlFrame(type: number, words: readonly number[], tail?: Uint8Array): Uint8Array {
  const length = words.length * 4 + (tail?.length ?? 0);
  const frame = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(frame.buffer);
  view.setUint16(0, CONTROL_BIT | VERSION);
  view.setUint16(2, type);
  view.setUint32(4, length);
  for (const [index, word] of words.entries()) view.setUint32(HEADER_BYTES + index * 4, word);
  if (tail !== undefined) frame.set(tail, HEADER_BYTES + words.length * 4);
  return frame;
}

/** `data` in as many DATA frames as it takes, one behind the other in one copy. */
export function dataFrames(streamId: number, data: Uint8Array): Uint8Array {
  const count = Math.ceil(data.length / DATA_BYTES);
  const frames = Buffer.allocUnsafe(data.length + count * HEADER_BYTES);
  for (let start = 0, offset = 0; start < data.length; start += DATA_BYTES) {
    const piece = data.subarray(start, start + DATA_BYTES);
    frames.writeUInt32BE(streamId, offset);
    frames.writeUInt32BE(piece.length, offset + 4);
    frames.set(piece, offset + HEADER_BYTES);
    offset += HEADER_BYTES + piece.length;
  }
  return frames;
}

/** The half close: an empty DATA frame with FIN. */
export function finFrame(streamId: number): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES);
  const view = new DataView(frame.buffer);
  view.setUint32(0, streamId);
  view.setUint32(4, FLAG_FIN << 24);
  return frame;
}

// SPDX-License-Identifier: Apache-2.0
import { constants, inflateRawSync } from "node:zlib";
import { messageOf } from "../../errors.ts";
import { HEADER_DICTIONARY } from "./dictionary.ts";
import { SpdyProtocolError } from "./frame.ts";

/** How far back deflate reaches. */
const WINDOW_BYTES = 32 * 1024;
const ZLIB_HEADER_BYTES = 6;
/** The empty stored block that ends every sync flush. */
const SYNC_FLUSH_TAIL = Uint8Array.of(0, 0, 0xff, 0xff);

export interface HeaderBounds {
  /** Of one block after inflation. */
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
}

/**
 * Reads the header blocks of one direction of a connection, which are one zlib stream, flushed after each block.
 *
 * A flush ends on a whole byte and carries nothing over but the last 32 KiB of output. So each block is inflated by
 * itself, synchronously, with that output as its dictionary, and frames keep their order without waiting for anything.
 */
export class HeaderBlockReader {
  readonly #bounds: HeaderBounds;
  #window: Uint8Array = HEADER_DICTIONARY;
  #isFirst = true;

  constructor(bounds: HeaderBounds) {
    this.#bounds = bounds;
  }

  /**
   * The headers of the next block; several values of one name are joined by NUL. Anything malformed or beyond the
   * bounds is a SpdyProtocolError, after which no further block can be read.
   */
  read(block: Uint8Array): ReadonlyMap<string, string> {
    const deflated = this.#isFirst ? withoutZlibHeader(block) : block;
    this.#isFirst = false;
    const inflated = this.#inflate(deflated);
    this.#window = Buffer.concat([this.#window, inflated]).subarray(-WINDOW_BYTES);
    return parseHeaders(inflated, this.#bounds.maxHeaders);
  }

  #inflate(deflated: Uint8Array): Uint8Array {
    if (Buffer.compare(deflated.subarray(-SYNC_FLUSH_TAIL.length), SYNC_FLUSH_TAIL) !== 0) {
      throw new SpdyProtocolError("a header block does not end with a flush");
    }
    try {
      return inflateRawSync(deflated, {
        dictionary: this.#window,
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: this.#bounds.maxHeaderBytes,
      });
    } catch (error) {
      throw new SpdyProtocolError(`a header block cannot be inflated: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** RFC 1950: method, flags, and the Adler-32 of the preset dictionary. */
function withoutZlibHeader(block: Uint8Array): Uint8Array {
  const header = block.subarray(0, ZLIB_HEADER_BYTES);
  const [method = 0, flags = 0] = header;
  const isZlib = (method & 0x0f) === 8 && (method * 256 + flags) % 31 === 0 && (flags & 0x20) !== 0;
  if (!isZlib || Buffer.compare(header.subarray(2), DICTIONARY_ID) !== 0) {
    throw new SpdyProtocolError("the first header block is not compressed with SPDY's dictionary");
  }
  return block.subarray(ZLIB_HEADER_BYTES);
}

const DICTIONARY_ID = Uint8Array.of(0xe3, 0xc6, 0xa7, 0xc2);

const UTF8 = new TextDecoder();

function parseHeaders(bytes: Uint8Array, maxHeaders: number): ReadonlyMap<string, string> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  const number = () => {
    if (offset + 4 > bytes.length) throw new SpdyProtocolError("a header block is too short");
    offset += 4;
    return view.getUint32(offset - 4);
  };
  const string = () => {
    const length = number();
    if (length > bytes.length - offset) throw new SpdyProtocolError("a header block is too short");
    offset += length;
    return UTF8.decode(bytes.subarray(offset - length, offset));
  };
  const count = number();
  if (count > maxHeaders) {
    throw new SpdyProtocolError(`a header block announces ${count} headers, more than ${maxHeaders}`);
  }
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = string();
    if (name === "" || name !== name.toLowerCase() || headers.has(name)) {
      throw new SpdyProtocolError("a header's name is empty, not in lower case, or there twice");
    }
    headers.set(name, string());
  }
  if (offset !== bytes.length) throw new SpdyProtocolError("a header block has bytes behind its headers");
  return headers;
}

/** Writes header blocks without a header, all that a server's replies need, as one zlib stream. */
export class HeaderBlockWriter {
  #isFirst = true;

  /**
   * The block is stored, so that nothing depends on what was sent before, and flushed: a Go peer hands out nothing
   * that it has inflated before it sees the flush. The first has the zlib header before it.
   */
  empty(): Uint8Array {
    const block = this.#isFirst ? FIRST_EMPTY_BLOCK : EMPTY_BLOCK;
    this.#isFirst = false;
    return block;
  }
}

// RFC 1951, section 3.2.4: not final and stored, length 4, its complement, and the four bytes of the number 0.
const EMPTY_BLOCK = Uint8Array.of(0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, ...SYNC_FLUSH_TAIL);
const FIRST_EMPTY_BLOCK = Uint8Array.of(0x78, 0x20, ...DICTIONARY_ID, ...EMPTY_BLOCK);

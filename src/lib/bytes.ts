// SPDX-License-Identifier: Apache-2.0

const INITIAL_BYTES = 256;

/**
 * Writes little-endian binary structures to a buffer that grows up to `limitBytes`. Lengths that are
 * known only later are written as zero and patched. Passing the limit, or a number that does not fit
 * its field, is a RangeError.
 */
export class ByteWriter {
  readonly #limitBytes: number;
  #buffer = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  constructor(limitBytes = 1 << 20) {
    this.#limitBytes = limitBytes;
  }

  /** How many bytes have been written: the offset of the next one. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const offset = this.#advance(1);
    this.#view.setUint8(offset, checked(value, 0xff));
    return this;
  }

  u16(value: number): this {
    const offset = this.#advance(2);
    this.#view.setUint16(offset, checked(value, 0xffff), true);
    return this;
  }

  u32(value: number): this {
    const offset = this.#advance(4);
    this.#view.setUint32(offset, checked(value, 0xffff_ffff), true);
    return this;
  }

  i32(value: number): this {
    const offset = this.#advance(4);
    this.#view.setInt32(offset, checked(value + 0x8000_0000, 0xffff_ffff) - 0x8000_0000, true);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} does not fit 64 bits`);
    const offset = this.#advance(8);
    this.#view.setBigUint64(offset, value, true);
    return this;
  }

  /** Network byte order, as packets and nf_tables have it. */
  u16be(value: number): this {
    const offset = this.#advance(2);
    this.#view.setUint16(offset, checked(value, 0xffff), false);
    return this;
  }

  u32be(value: number): this {
    const offset = this.#advance(4);
    this.#view.setUint32(offset, checked(value, 0xffff_ffff), false);
    return this;
  }

  bytes(value: Uint8Array): this {
    const offset = this.#advance(value.length);
    this.#buffer.set(value, offset);
    return this;
  }

  zeros(count: number): this {
    this.#advance(count);
    return this;
  }

  /** Zeros up to the next multiple of `boundary`, a power of two. */
  align(boundary: number): this {
    return this.zeros(-this.#length & (boundary - 1));
  }

  /** Replaces two bytes already written. */
  patchU16(offset: number, value: number): void {
    this.#view.setUint16(this.#written(offset, 2), checked(value, 0xffff), true);
  }

  /** Replaces four bytes already written. */
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(this.#written(offset, 4), checked(value, 0xffff_ffff), true);
  }

  /** A copy of what has been written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }

  #written(offset: number, size: number): number {
    if (offset < 0 || offset + size > this.#length) throw new RangeError(`nothing is written at ${offset}`);
    return offset;
  }

  /** Makes room for `size` zero bytes and returns their offset. */
  #advance(size: number): number {
    const offset = this.#length;
    const end = offset + size;
    if (end > this.#limitBytes) throw new RangeError(`more than ${this.#limitBytes} bytes were written`);
    if (end > this.#buffer.length) this.#grow(end);
    this.#length = end;
    return offset;
  }

  #grow(neededBytes: number): void {
    const larger = new Uint8Array(Math.max(neededBytes, this.#buffer.length * 2));
    larger.set(this.#buffer);
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Reads little-endian binary structures; no read passes the end of `bytes`, the attempt is a RangeError. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** A copy of the next `count` bytes. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    const offset = this.#take(count);
    // Not `slice`, which is no copy where the bytes are a Buffer's.
    return new Uint8Array(this.#bytes.subarray(offset, offset + count));
  }

  skip(count: number): this {
    this.#take(count);
    return this;
  }

  /** Passes over padding up to the next multiple of `boundary`, or to the end where that comes first. */
  align(boundary: number): this {
    return this.skip(Math.min(-this.#offset & (boundary - 1), this.remaining));
  }

  #take(size: number): number {
    if (size < 0 || size > this.remaining) {
      throw new RangeError(`${size} bytes wanted at offset ${this.#offset}, ${this.remaining} are there`);
    }
    const offset = this.#offset;
    this.#offset += size;
    return offset;
  }
}

function checked(value: number, maximum: number): number {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new RangeError(`${value} is no integer from 0 to ${maximum}`);
  }
  return value;
}

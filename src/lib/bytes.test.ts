// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { ByteReader, ByteWriter } from "./bytes.ts";

describe("ByteWriter", () => {
  test("writes numbers little-endian, and big-endian where asked", () => {
    const bytes = new ByteWriter().u8(1).u16(0x0203).u32(0x04050607).u16be(0x0809).u32be(0x0a0b0c0d).finish();
    expect([...bytes]).toEqual([1, 3, 2, 7, 6, 5, 4, 8, 9, 10, 11, 12, 13]);
  });

  test("writes the extremes of signed and 64-bit numbers", () => {
    const bytes = new ByteWriter()
      .i32(-1)
      .i32(-0x8000_0000)
      .i32(0x7fff_ffff)
      .u64((1n << 64n) - 1n)
      .finish();
    const reader = new ByteReader(bytes);
    expect([reader.i32(), reader.i32(), reader.i32(), reader.u64()]).toEqual([
      -1,
      -0x8000_0000,
      0x7fff_ffff,
      (1n << 64n) - 1n,
    ]);
  });

  test("refuses a number that does not fit its field", () => {
    const wrong: (() => unknown)[] = [
      () => new ByteWriter().u8(256),
      () => new ByteWriter().u16(-1),
      () => new ByteWriter().u32(2 ** 32),
      () => new ByteWriter().u16be(1.5),
      () => new ByteWriter().i32(2 ** 31),
      () => new ByteWriter().u64(-1n),
    ];
    for (const attempt of wrong) expect(attempt).toThrow(RangeError);
  });

  test("aligns, patches what is written and nothing else", () => {
    const writer = new ByteWriter().u8(9).align(4).align(4);
    expect(writer.length).toBe(4);
    writer.patchU16(2, 0x1234);
    expect([...writer.finish()]).toEqual([9, 0, 0x34, 0x12]);
    expect(() => writer.patchU32(1, 0)).toThrow(RangeError);
    expect(() => writer.patchU16(-1, 0)).toThrow(RangeError);
  });

  test("grows beyond its first buffer and stops at its limit", () => {
    const writer = new ByteWriter(1000).zeros(300).bytes(new Uint8Array(700).fill(7));
    expect(writer.finish()[999]).toBe(7);
    expect(() => writer.u8(0)).toThrow("more than 1000 bytes");
  });
});

describe("ByteReader", () => {
  test("answers bytes that are a copy, also of a Buffer's", () => {
    const buffer = Buffer.from([1, 2, 3]);
    const copy = new ByteReader(buffer).skip(1).bytes(2);
    buffer.fill(9);
    expect([...copy]).toEqual([2, 3]);
    expect(copy.byteOffset).toBe(0);
  });

  test("reads from a view into a larger buffer", () => {
    const bytes = Uint8Array.of(0xff, 1, 2, 3, 4, 0xff).subarray(1, 5);
    const reader = new ByteReader(bytes);
    expect([reader.u16(), reader.u16(), reader.remaining]).toEqual([0x0201, 0x0403, 0]);
  });

  test("never reads past the end", () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3));
    expect(() => reader.u32()).toThrow("4 bytes wanted at offset 0, 3 are there");
    expect(() => reader.bytes(-1)).toThrow(RangeError);
    expect([...reader.bytes(3)]).toEqual([1, 2, 3]);
    expect(reader.align(4).remaining).toBe(0);
  });
});

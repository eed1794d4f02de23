// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import type { ByteReader, ByteWriter } from "../lib/bytes.ts";
import { alignmentOf, type BasicCode, parseSignature, type Type } from "./signature.ts";

/*
 * Values as D-Bus puts them into bytes (D-Bus Specification, "Marshaling"), little-endian: each aligned by its type,
 * counted from the beginning of the message.
 */

/**
 * A value of D-Bus: numbers up to 32 bits and doubles are numbers, those of 64 bits bigints; arrays, structures and
 * entries of dictionaries are arrays.
 */
export type Value = number | bigint | boolean | string | Variant | readonly Value[];

export interface Variant {
  readonly signature: string;
  readonly value: Value;
}

export function variant(signature: string, value: Value): Variant {
  return { signature, value };
}

/** Variants may hold variants; with arrays and structures the specification allows 64 levels in all. */
const MAX_DEPTH = 64;
const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** Appends values of the types of `signature`; a value that is not of its type is a mistake of the caller's. */
export function encodeValues(writer: ByteWriter, signature: string, values: readonly Value[]): void {
  const types = parseSignature(signature);
  if (types.length !== values.length) {
    throw new RangeError(`${values.length} values for the signature ${signature}`);
  }
  for (const [index, type] of types.entries()) encode(writer, type, values[index] as Value);
}

function encode(writer: ByteWriter, type: Type, value: Value): void {
  writer.align(alignmentOf(type));
  if (type.kind === "basic") {
    ENCODERS[type.code](writer, value as never);
  } else if (type.kind === "variant") {
    const { signature, value: inner } = value as Variant;
    encodeSignature(writer, signature);
    encodeValues(writer, signature, [inner]);
  } else if (type.kind === "struct") {
    const parts = value as readonly Value[];
    for (const [index, member] of type.members.entries()) encode(writer, member, parts[index] as Value);
  } else {
    encodeArray(writer, type.element, value as readonly Value[]);
  }
}

/** The length is that of the elements, without the padding before the first. */
function encodeArray(writer: ByteWriter, element: Type, values: readonly Value[]): void {
  const lengthAt = writer.length;
  writer.u32(0).align(alignmentOf(element));
  const start = writer.length;
  for (const value of values) encode(writer, element, value);
  writer.patchU32(lengthAt, writer.length - start);
}

const ENCODERS: {
  readonly [Code in BasicCode]: (writer: ByteWriter, value: never) => void;
} = {
  y: (writer, value: number) => void writer.u8(value),
  b: (writer, value: boolean) => void writer.u32(value ? 1 : 0),
  n: (writer, value: number) => void writer.u16(value & 0xffff),
  q: (writer, value: number) => void writer.u16(value),
  i: (writer, value: number) => void writer.i32(value),
  u: (writer, value: number) => void writer.u32(value),
  h: (writer, value: number) => void writer.u32(value),
  x: (writer, value: bigint) => void writer.u64(BigInt.asUintN(64, value)),
  t: (writer, value: bigint) => void writer.u64(value),
  d: (writer, value: number) => void writer.bytes(new Uint8Array(Float64Array.of(value).buffer)),
  s: encodeText,
  o: encodeText,
  g: encodeSignature,
};

function encodeSignature(writer: ByteWriter, value: string): void {
  const bytes = encoder.encode(value);
  writer.u8(bytes.length).bytes(bytes).u8(0);
}

function encodeText(writer: ByteWriter, value: string): void {
  const bytes = encoder.encode(value);
  writer.u32(bytes.length).bytes(bytes).u8(0);
}

/** The next values; InvalidArgumentError or RangeError for bytes that are none. */
export function decodeValues(reader: ByteReader, signature: string, depth = 0): Value[] {
  return parseSignature(signature).map((type) => decode(reader, type, depth));
}

function decode(reader: ByteReader, type: Type, depth: number): Value {
  if (depth > MAX_DEPTH) throw new InvalidArgumentError("", "D-Bus values are nested too deeply");
  reader.align(alignmentOf(type));
  if (type.kind === "basic") return DECODERS[type.code](reader);
  if (type.kind === "struct") return type.members.map((member) => decode(reader, member, depth + 1));
  if (type.kind === "variant") {
    const signature = DECODERS.g(reader) as string;
    const types = parseSignature(signature);
    if (types.length !== 1) throw new InvalidArgumentError("", "a D-Bus variant does not hold one value");
    return { signature, value: decode(reader, types[0] as Type, depth + 1) };
  }
  const length = reader.u32();
  reader.align(alignmentOf(type.element));
  if (length > reader.remaining)
    throw new InvalidArgumentError("", "a D-Bus array is longer than its message");
  const end = reader.offset + length;
  const elements: Value[] = [];
  while (reader.offset < end) elements.push(decode(reader, type.element, depth + 1));
  if (reader.offset > end) throw new InvalidArgumentError("", "a D-Bus array does not end with an element");
  return elements;
}

const DECODERS: Readonly<Record<BasicCode, (reader: ByteReader) => Value>> = {
  y: (reader) => reader.u8(),
  b(reader) {
    const value = reader.u32();
    if (value > 1) throw new InvalidArgumentError("", `a D-Bus boolean is ${value}`);
    return value === 1;
  },
  n: (reader) => (reader.u16() << 16) >> 16,
  q: (reader) => reader.u16(),
  i: (reader) => reader.i32(),
  u: (reader) => reader.u32(),
  h: (reader) => reader.u32(),
  x: (reader) => BigInt.asIntN(64, reader.u64()),
  t: (reader) => reader.u64(),
  d: (reader) => new Float64Array(reader.bytes(8).buffer)[0] as number,
  s: (reader) => text(reader, reader.u32()),
  o: (reader) => text(reader, reader.u32()),
  g: (reader) => text(reader, reader.u8()),
};

/** UTF-8 and a zero byte, which the length does not count and which is nowhere else. */
function text(reader: ByteReader, length: number): string {
  const bytes = reader.bytes(length);
  if (reader.u8() !== 0 || bytes.includes(0)) {
    throw new InvalidArgumentError("", "a D-Bus string does not end with its only zero byte");
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new InvalidArgumentError("", "a D-Bus string is not UTF-8");
  }
}

// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { ByteReader, ByteWriter } from "../lib/bytes.ts";
import { type Frame, FrameReader } from "../lib/frame-reader.ts";
import { decodeValues, encodeValues, type Value, type Variant, variant } from "./values.ts";

/* Messages of D-Bus (D-Bus Specification, "Message Protocol"), of this machine's byte order only. */

export const MESSAGE_TYPE = { call: 1, reply: 2, error: 3, signal: 4 } as const;

/** The specification allows 128 MiB; what systemd answers to podrt has less than a kilobyte. */
export const MESSAGE_LIMIT_BYTES = 1 << 20;

/** What stands in the header besides type and serial; most messages have a few of these. */
export interface HeaderFields {
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly sender?: string;
}

export interface Message extends HeaderFields {
  /** One of MESSAGE_TYPE; others are to be ignored. */
  readonly type: number;
  readonly serial: number;
  /** Types of the body. */
  readonly signature: string;
  readonly body: readonly Value[];
}

const LITTLE_ENDIAN = "l".charCodeAt(0);
const VERSION = 1;
const FIXED_BYTES = 16;
const SIGNATURE_FIELD = 8;

const FIELDS: readonly (readonly [code: number, name: keyof HeaderFields, signature: string])[] = [
  [1, "path", "o"],
  [2, "interface", "s"],
  [3, "member", "s"],
  [4, "errorName", "s"],
  [5, "replySerial", "u"],
  [6, "destination", "s"],
  [7, "sender", "s"],
];

/** A message as bytes. */
export function encodeMessage({
  type,
  serial,
  signature,
  body,
  ...fields
}: Message): Uint8Array<ArrayBuffer> {
  const entries: Value[] = FIELDS.flatMap(([code, name, fieldSignature]) => {
    const value = fields[name];
    return value === undefined ? [] : [[code, variant(fieldSignature, value)]];
  });
  if (signature !== "") entries.push([SIGNATURE_FIELD, variant("g", signature)]);
  const writer = new ByteWriter(MESSAGE_LIMIT_BYTES);
  encodeValues(writer, "yyyyuua(yv)", [LITTLE_ENDIAN, type, 0, VERSION, 0, serial, entries]);
  const bodyAt = writer.align(8).length;
  // Both begin on a multiple of eight, so that alignment within the body is alignment within the message.
  encodeValues(writer, signature, body);
  writer.patchU32(BODY_LENGTH_OFFSET, writer.length - bodyAt);
  return writer.finish();
}

const BODY_LENGTH_OFFSET = 4;
const FIELDS_LENGTH_OFFSET = 12;

/** Cuts what comes over a connection into messages; use `decodeMessage` on each frame. */
export function messageFrames(): FrameReader {
  return new FrameReader({
    name: "D-Bus",
    headerBytes: FIXED_BYTES,
    limitBytes: MESSAGE_LIMIT_BYTES,
    bodyBytesOf(header) {
      if (header.getUint8(0) !== LITTLE_ENDIAN || header.getUint8(3) !== VERSION) {
        throw new InvalidArgumentError("", "what came is no D-Bus message of this machine's byte order");
      }
      return (
        roundedUp(header.getUint32(FIELDS_LENGTH_OFFSET, true)) + header.getUint32(BODY_LENGTH_OFFSET, true)
      );
    },
  });
}

/** The message of a frame; InvalidArgumentError or RangeError when it is malformed. */
export function decodeMessage({ header, body: rest }: Frame): Message {
  const type = header.getUint8(1);
  const serial = header.getUint32(8, true);
  const fieldsBytes = header.getUint32(FIELDS_LENGTH_OFFSET, true);
  const fixed = new Uint8Array(header.buffer, header.byteOffset + FIELDS_LENGTH_OFFSET, 4);
  // The array of fields with its length, which ends the fixed part; four bytes more for its alignment.
  const fields = new ByteReader(Buffer.concat([new Uint8Array(4), fixed, rest.subarray(0, fieldsBytes)]));
  const [, entries] = decodeValues(fields, "ua(yv)") as [number, [number, Variant][]];
  const known: Record<string, Value> = {};
  let signature = "";
  for (const [code, field] of entries) {
    const [, name, expected] = FIELDS.find(([one]) => one === code) ?? [];
    if (code === SIGNATURE_FIELD && field.signature === "g") signature = field.value as string;
    else if (name !== undefined && field.signature === expected) known[name] = field.value;
    else if (name !== undefined || code === SIGNATURE_FIELD) {
      throw new InvalidArgumentError("", `field ${code} of a D-Bus message has the type ${field.signature}`);
    }
  }
  const body = new ByteReader(rest.subarray(roundedUp(fieldsBytes)));
  return { ...known, type, serial, signature, body: decodeValues(body, signature) };
}

function roundedUp(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

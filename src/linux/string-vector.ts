// SPDX-License-Identifier: Apache-2.0
import { addressOf } from "./libc.ts";
import { cString } from "./syscall.ts";

const POINTER_BYTES = 8;

/** A NULL-ended array of pointers to C strings, and behind it, in the same buffer, the strings. */
export function stringVector(values: readonly string[]): Uint8Array {
  const strings = values.map(cString);
  const pointerBytes = (strings.length + 1) * POINTER_BYTES;
  const buffer = new Uint8Array(strings.reduce((sum, bytes) => sum + bytes.length, pointerBytes));
  const view = new DataView(buffer.buffer);
  const base = addressOf(buffer);
  let offset = pointerBytes;
  strings.forEach((bytes, i) => {
    view.setBigUint64(i * POINTER_BYTES, BigInt(base + offset), true);
    buffer.set(bytes, offset);
    offset += bytes.length;
  });
  return buffer;
}

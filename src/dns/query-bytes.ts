// SPDX-License-Identifier: Apache-2.0
import { nameBytes } from "./message.ts";

/** A query as a resolver sends it. */
export function queryBytes(name: string, type: number, id = 7): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  // Recursion desired, one question.
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  const rest = Buffer.alloc(4);
  rest.writeUInt16BE(type, 0);
  rest.writeUInt16BE(1, 2);
  return Buffer.concat([header, nameBytes(name), rest]);
}

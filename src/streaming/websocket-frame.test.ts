// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { messageFrame } from "./websocket-frame.ts";

const ROOM = 16;

// Lengths with the channel's byte: RFC 6455, section 5.2, "Payload length".
for (const [bytes, head] of [
  [0, [0x82, 1]],
  [124, [0x82, 125]],
  [125, [0x82, 126, 0, 126]],
  [65_534, [0x82, 126, 0xff, 0xff]],
  [65_535, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  [262_144, [0x82, 127, 0, 0, 0, 0, 0, 4, 0, 1]],
] as const) {
  test(`${bytes} bytes make one frame, in their own buffer where that has room`, () => {
    const buffer = new Uint8Array(ROOM + bytes).fill(7, ROOM);
    const data = buffer.subarray(ROOM);
    const expected = Buffer.from([...head, 2, ...data]);
    const copied = messageFrame(2, data, 0);
    expect(copied.equals(expected)).toBe(true);
    expect(buffer.subarray(0, ROOM)).toEqual(new Uint8Array(ROOM));
    const inPlace = messageFrame(2, data, ROOM);
    expect(inPlace.equals(expected)).toBe(true);
    expect(inPlace.buffer).toBe(buffer.buffer);
    expect(messageFrame(2, data, head.length).buffer).not.toBe(buffer.buffer);
  });
}

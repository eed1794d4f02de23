// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { dataFrame, frame, pingFrame } from "../../../test/fixtures/spdy-peer.ts";
import { FrameParser } from "./frame-parser.ts";

function parser(maxControlBytes = 100) {
  const events: string[] = [];
  const pieces: Uint8Array[] = [];
  const handler = {
    onData(streamId: number, data: Uint8Array, fin: boolean) {
      pieces.push(data);
      events.push(`${streamId} ${Buffer.from(data)}${fin ? " fin" : ""}`);
    },
    onControl(type: number, flags: number, payload: Uint8Array) {
      events.push(`control ${type} ${flags} ${Buffer.from(payload).toString("hex")}`);
    },
  };
  return { parser: new FrameParser(handler, maxControlBytes), events, pieces };
}

test("tells several frames in one chunk apart", () => {
  const { parser: frames, events } = parser();
  frames.push(
    Buffer.concat([
      dataFrame(1, "ab"),
      pingFrame(7),
      dataFrame(3, "", true),
      frame(0x80030004, 2, Buffer.alloc(0)),
    ]),
  );
  expect(events).toEqual(["1 ab", "control 6 0 00000007", "3  fin", "control 4 2 "]);
});

test("passes data on before its frame is whole, and says FIN with the last of it", () => {
  const { parser: frames, events } = parser();
  const bytes = dataFrame(1, "abcd", true);
  frames.push(bytes.subarray(0, 3));
  frames.push(bytes.subarray(3, 10));
  frames.push(bytes.subarray(10, 11));
  expect(events).toEqual(["1 ab", "1 c"]);
  frames.push(bytes.subarray(11));
  expect(events).toEqual(["1 ab", "1 c", "1 d fin"]);
});

test("does not copy data", () => {
  const { parser: frames, pieces } = parser();
  const chunk = dataFrame(1, "abcd");
  frames.push(chunk);
  expect(pieces[0]!.buffer).toBe(chunk.buffer);
});

test("refuses a control frame that is too long as soon as it is announced", () => {
  const { parser: frames } = parser(100);
  frames.push(frame(0x80030004, 0, Buffer.alloc(100)));
  expect(() => frames.push(frame(0x80030004, 0, Buffer.alloc(101)).subarray(0, 8))).toThrow(
    "a control frame announces 101 bytes, more than 100",
  );
});

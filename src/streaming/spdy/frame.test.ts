// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { describeFrames } from "../../../test/fixtures/spdy-peer.ts";
import {
  dataFrames,
  decodeControlFrame,
  decodeFrameHeader,
  emptySettings,
  finFrame,
  goAway,
  ping,
  rstStream,
  SpdyProtocolError,
  synReply,
} from "./frame.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

function header(text: string) {
  const { buffer, byteOffset } = bytes(text);
  return decodeFrameHeader(new DataView(buffer, byteOffset, 8));
}

describe("what is written", () => {
  test("control frames, byte by byte", () => {
    expect(hex(synReply(1, Uint8Array.of(0xaa, 0xbb)))).toBe("80030002" + "00000006" + "00000001" + "aabb");
    expect(hex(rstStream(0x7fffffff, 5))).toBe("80030003" + "00000008" + "7fffffff" + "00000005");
    expect(hex(emptySettings())).toBe("80030004" + "00000004" + "00000000");
    expect(hex(ping(0xffffffff))).toBe("80030006" + "00000004" + "ffffffff");
    expect(hex(goAway(7, 1))).toBe("80030007" + "00000008" + "00000007" + "00000001");
  });

  test("a half close, and data in frames of 32 KiB", () => {
    expect(hex(finFrame(3))).toBe("00000003" + "01000000");
    expect(hex(dataFrames(5, Buffer.from("hello")))).toBe("00000005" + "00000005" + "68656c6c6f");
    expect(dataFrames(5, new Uint8Array(0)).length).toBe(0);
    const data = Buffer.alloc(65 * 1024, "abcdefghijk");
    const frames = describeFrames(Buffer.from(dataFrames(5, data)));
    expect(frames.map((frame) => frame.length - "data 5:".length)).toEqual([32768, 32768, 1024]);
    expect(frames.map((frame) => frame.slice("data 5:".length)).join("")).toBe(data.toString());
  });
});

describe("what is read", () => {
  test("headers of frames", () => {
    expect(header("7fffffff 01ffffff")).toEqual({
      kind: "data",
      streamId: 0x7fffffff,
      fin: true,
      length: 0xffffff,
    });
    expect(header("80030001 02000010")).toEqual({ kind: "control", type: 1, flags: 2, length: 16 });
  });

  test("neither another version nor stream 0", () => {
    expect(() => header("80020001 00000010")).toThrow("a frame is of SPDY version 2, not 3");
    expect(() => header("00000000 00000010")).toThrow(SpdyProtocolError);
    expect(() => decodeControlFrame(3, 0, bytes("80000000 00000005"))).toThrow(SpdyProtocolError);
  });

  test("payloads of control frames", () => {
    expect(decodeControlFrame(1, 3, bytes("80000001 00000000 2000 abcd"))).toEqual({
      type: "SYN_STREAM",
      streamId: 1,
      fin: true,
      unidirectional: true,
      headerBlock: bytes("abcd"),
    });
    expect(decodeControlFrame(2, 0, bytes("00000001 ab"))).toEqual({
      type: "SYN_REPLY",
      streamId: 1,
      headerBlock: bytes("ab"),
    });
    expect(decodeControlFrame(8, 1, bytes("00000001"))).toEqual({
      type: "HEADERS",
      streamId: 1,
      fin: true,
      headerBlock: bytes(""),
    });
    expect(decodeControlFrame(3, 0, bytes("00000009 00000005"))).toEqual({
      type: "RST_STREAM",
      streamId: 9,
      status: 5,
    });
    expect(decodeControlFrame(6, 0, bytes("ffffffff"))).toEqual({ type: "PING", id: 0xffffffff });
    expect(decodeControlFrame(7, 0, bytes("00000009 00000002"))).toEqual({
      type: "GOAWAY",
      lastStreamId: 9,
      status: 2,
    });
  });

  test("nothing of settings, window updates and types that are not known", () => {
    for (const type of [4, 9, 5, 10, 0xffff])
      expect(decodeControlFrame(type, 0xff, bytes("01"))).toBeUndefined();
  });

  test("no payload of the wrong length", () => {
    const wrong: [number, string][] = [
      [1, "000000010000000000"],
      [2, "000001"],
      [3, "0000000100000005aa"],
      [3, "00000001"],
      [6, ""],
      [6, "0000000000"],
      [7, "00000001"],
      [8, "000001"],
    ];
    for (const [type, payload] of wrong) {
      expect(() => decodeControlFrame(type, 0, bytes(payload))).toThrow(SpdyProtocolError);
    }
    expect(() => decodeControlFrame(6, 0, bytes("00"))).toThrow(
      "a control frame of type 6 has 1 bytes of payload, not 4",
    );
  });
});

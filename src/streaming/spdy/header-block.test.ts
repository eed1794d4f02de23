// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { deflateRawSync, deflateSync } from "node:zlib";
import { HeaderCompressor, headerText, inflateBlocks, words } from "../../../test/fixtures/spdy-peer.ts";
import { SpdyProtocolError } from "./frame.ts";
import { HeaderBlockReader, HeaderBlockWriter } from "./header-block.ts";

// By spdystream's framer, which Kubernetes uses.
const GO_BLOCKS = [
  "78f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff",
  "c22e555c92929907000000ffff",
  "c22ac5565c92925f5a02000000ffff",
] as const;

const bounds = { maxHeaderBytes: 16 * 1024, maxHeaders: 64 };
const hex = (text: string) => Buffer.from(text, "hex");

describe("reading", () => {
  test("what a Go client sent for its first three streams", () => {
    const reader = new HeaderBlockReader(bounds);
    expect([...reader.read(hex(GO_BLOCKS[0]))]).toEqual([["streamtype", "error"]]);
    expect([...reader.read(hex(GO_BLOCKS[1]))]).toEqual([["streamtype", "stdin"]]);
    expect([...reader.read(hex(GO_BLOCKS[2]))]).toEqual([["streamtype", "stdout"]]);
  });

  test("blocks that reach back as far as deflate does", async () => {
    const compressor = new HeaderCompressor();
    const reader = new HeaderBlockReader(bounds);
    const noise = () => Buffer.from(crypto.getRandomValues(new Uint8Array(6000))).toString("base64");
    const texts = Array.from({ length: 5 }, noise);
    // Every text is 8,000 bytes: when it comes again, it is 32,000 bytes back.
    for (const text of [...texts.slice(0, 4), ...texts.slice(0, 4), ...texts, ""]) {
      const block = await compressor.block(headerText({ text, list: "a\0b" }));
      expect([...reader.read(block)]).toEqual([
        ["text", text],
        ["list", "a\0b"],
      ]);
    }
  });

  test("no more than is allowed, though it is small when compressed", async () => {
    const reader = () => new HeaderBlockReader({ maxHeaderBytes: 1000, maxHeaders: 3 });
    const block = (text: Uint8Array) => new HeaderCompressor().block(text);
    const bomb = await block(headerText({ a: "x".repeat(50_000_000) }));
    expect(bomb.length).toBeLessThan(64 * 1024);
    expect(() => reader().read(bomb)).toThrow(SpdyProtocolError);
    const rightSize = await block(headerText({ a: "x".repeat(987) }));
    expect(reader().read(rightSize).size).toBe(1);
    expect(() => reader().read(hex(""))).toThrow(SpdyProtocolError);
    const many = await block(headerText({ a: "", b: "", c: "", d: "" }));
    expect(() => reader().read(many)).toThrow("a header block announces 4 headers, more than 3");
  });

  test("nothing that is malformed", async () => {
    const texts = [
      Buffer.from([0, 0]),
      words(1),
      words(0xffffffff),
      words(1, 5),
      Buffer.concat([words(1, 1), Buffer.from("a"), words(0xffffffff)]),
      Buffer.concat([headerText({ a: "b" }), Buffer.from("c")]),
      headerText({ "": "b" }),
      headerText({ Name: "b" }),
      Buffer.concat([words(2), headerText({ a: "b" }).subarray(4), headerText({ a: "c" }).subarray(4)]),
    ];
    for (const text of texts) {
      const block = await new HeaderCompressor().block(text);
      expect(() => new HeaderBlockReader(bounds).read(block)).toThrow(SpdyProtocolError);
    }
  });

  test("only what is compressed against the dictionary and flushed", async () => {
    const text = headerText({ a: "b" });
    const block = await new HeaderCompressor().block(text);
    const read = (bytes: Uint8Array) => () => new HeaderBlockReader(bounds).read(bytes);
    expect(read(block)).not.toThrow();
    expect(read(deflateSync(text))).toThrow("is not compressed with SPDY's dictionary");
    expect(read(deflateRawSync(text))).toThrow("is not compressed with SPDY's dictionary");
    expect(read(block.subarray(0, -1))).toThrow("does not end with a flush");
    const torn = Buffer.from(block);
    torn[6] = 0xff;
    expect(read(torn)).toThrow("cannot be inflated");
    const otherDictionary = Buffer.from(block);
    otherDictionary[5]! ^= 1;
    expect(read(otherDictionary)).toThrow("is not compressed with SPDY's dictionary");
  });
});

test("what is written is one zlib stream of blocks without a header", async () => {
  const writer = new HeaderBlockWriter();
  const blocks = [writer.empty(), writer.empty(), writer.empty()];
  expect(Buffer.from(blocks[0]!).toString("hex")).toBe("7820e3c6a7c2" + "000400fbff00000000" + "000000ffff");
  expect(await inflateBlocks(blocks)).toEqual(Buffer.alloc(12));
});

// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import type { Duplex } from "node:stream";
import fc from "fast-check";
import type { WebSocket } from "ws-node";
import type { ChannelCodec } from "../../src/streaming/protocols.ts";
import { acceptWebSocket, channelsOver } from "../../src/streaming/websocket.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: x",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "",
  "",
].join("\r\n");
const TEXT = 1;
const BINARY = 2;

/** A frame of a client's (RFC 6455, section 5.2), masked with zeros. */
function frame(opcode: number, payload: Uint8Array, isFinal = true): Buffer {
  const head = Buffer.alloc(payload.length < 126 ? 2 : 4);
  head[0] = opcode | (isFinal ? 0x80 : 0);
  if (payload.length < 126) head[1] = 0x80 | payload.length;
  else {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(payload.length, 2);
  }
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

const message = fc
  .tuple(fc.constantFrom(0, 1, 2, 4, 255), fc.uint8Array({ maxLength: 400 }), fc.boolean())
  .map(([channel, data, isWhole]) => {
    const payload = Buffer.concat([Uint8Array.of(channel), data]);
    if (isWhole) return frame(BINARY, payload);
    const middle = payload.length >> 1;
    return Buffer.concat([
      frame(BINARY, payload.subarray(0, middle), false),
      frame(0, payload.subarray(middle)),
    ]);
  });
const control = fc
  .tuple(fc.constantFrom(8, 9, 10, 3, 11, TEXT), fc.uint8Array({ maxLength: 130 }))
  .map(([opcode, payload]) => frame(opcode, payload));
const conversation = fc
  .array(fc.oneof({ weight: 5, arbitrary: message }, { weight: 1, arbitrary: control }), { maxLength: 12 })
  .map((frames) => Buffer.concat(frames));

/** What a server of channels reads from a client that sends `pieces` and leaves; it must end by itself. */
async function readingOf(pieces: readonly Uint8Array[], codec: ChannelCodec): Promise<Map<number, string>> {
  const read = new Map<number, string>();
  const http = createServer();
  const served = Promise.withResolvers<void>();
  http.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    acceptWebSocket({ request, socket, head, protocol: "", closeTimeoutMs: 500 }, (opened: WebSocket) => {
      const channels = channelsOver(opened, codec);
      const readers = [0, 4].map(async (id) => {
        try {
          for await (const chunk of channels.channel(id).incoming)
            read.set(id, (read.get(id) ?? "") + Buffer.from(chunk).toString("hex"));
        } catch (error) {
          expect(String(error)).toContain("closed the connection");
        }
      });
      void Promise.all([...readers, channels.closed]).then(() => served.resolve(), served.reject);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const client = connect((http.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => {}).on("data", () => {});
  try {
    client.write(UPGRADE);
    await new Promise((resolve) => client.once("data", resolve));
    for (const piece of pieces) {
      client.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.end();
    await served.promise;
    return read;
  } finally {
    client.destroy();
    http.close();
  }
}

const codecs = fc.constantFrom<ChannelCodec>(
  { isBase64: false, hasHalfClose: true },
  { isBase64: false, hasHalfClose: false },
  { isBase64: true, hasHalfClose: false },
);

test("frames say the same in pieces of any size", async () => {
  const messages = fc.array(message, { maxLength: 8 }).map((frames) => Buffer.concat(frames));
  await fc.assert(
    fc.asyncProperty(messages, codecs, fc.integer({ min: 1, max: 200 }), async (bytes, codec, size) => {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      expect(await readingOf(pieces, codec)).toEqual(await readingOf([bytes], codec));
    }),
    fuzz(40),
  );
});

test("whatever a client sends, its session ends and nothing is thrown", async () => {
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);
  process.on("uncaughtException", note).on("unhandledRejection", note);
  const hostile = fc.oneof(
    conversation.chain(mutatedBytes),
    conversation,
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  );
  try {
    await fc.assert(
      fc.asyncProperty(hostile, codecs, async (bytes, codec) => {
        await readingOf([bytes], codec);
      }),
      fuzz(120),
    );
    expect(thrown).toEqual([]);
  } finally {
    process.off("uncaughtException", note).off("unhandledRejection", note);
  }
});

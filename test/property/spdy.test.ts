// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import { duplexPair } from "node:stream";
import fc from "fast-check";
import { messageOf } from "../../src/errors.ts";
import { type SpdyStream, serveSpdy } from "../../src/streaming/spdy/connection.ts";
import { dataFrames, finFrame } from "../../src/streaming/spdy/frame.ts";
import { FrameParser } from "../../src/streaming/spdy/frame-parser.ts";
import { HeaderBlockReader } from "../../src/streaming/spdy/header-block.ts";
import {
  collect,
  dataFrame,
  frame,
  goAwayFrame,
  HeaderCompressor,
  headerText,
  pingFrame,
  resetFrame,
  words,
} from "../fixtures/spdy-peer.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const name = fc.string({ minLength: 1, maxLength: 20 }).map((text) => text.toLowerCase());
const headers = fc.dictionary(name, fc.string({ unit: "grapheme", maxLength: 300 }), { maxKeys: 10 });
const streamId = fc.integer({ min: 1, max: 9 });

/** What a peer may do; header blocks are compressed when the bytes are made. */
type Step =
  | { readonly kind: "open"; readonly headers: Record<string, string>; readonly flags: number }
  | { readonly kind: "headers"; readonly id: number; readonly headers: Record<string, string> }
  | { readonly kind: "bytes"; readonly bytes: Buffer };

const bytesStep = fc
  .oneof(
    fc
      .tuple(streamId, fc.uint8Array({ maxLength: 3000 }), fc.boolean())
      .map(([id, data, fin]) => dataFrame(id, data, fin)),
    fc.tuple(streamId, fc.integer({ min: 1, max: 11 })).map(([id, status]) => resetFrame(id, status)),
    fc.nat(0xffff).map(pingFrame),
    fc
      .tuple(fc.constantFrom(4, 9, 5, 77), fc.nat(3), fc.uint8Array({ maxLength: 40 }))
      .map(([type, flags, payload]) => frame(0x80030000 + type, flags, payload)),
  )
  .map((bytes): Step => ({ kind: "bytes", bytes }));
const openStep = fc.record({
  kind: fc.constant("open" as const),
  headers,
  flags: fc.constantFrom(0, 0, 0, 1, 2),
});
const headersStep = fc.record({ kind: fc.constant("headers" as const), id: streamId, headers });
const conversation: fc.Arbitrary<Step[]> = fc
  .array(fc.oneof({ weight: 4, arbitrary: bytesStep }, openStep, headersStep), { maxLength: 25 })
  // Data may only be for streams that were opened.
  .map((steps) => [...Array(5).fill({ kind: "open", headers: { a: "b" }, flags: 0 }), ...steps]);

async function bytesOf(steps: readonly Step[]): Promise<Buffer> {
  const compressor = new HeaderCompressor();
  const parts: Buffer[] = [];
  let nextId = 1;
  for (const step of steps) {
    if (step.kind === "bytes") parts.push(step.bytes);
    else if (step.kind === "headers") parts.push(await compressor.headers(step.id, step.headers));
    else {
      parts.push(await compressor.synStream(nextId, step.headers, step.flags));
      nextId += 2;
    }
  }
  return Buffer.concat(parts);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

const places = fc.array(fc.nat(), { maxLength: 40 });

/** Serves a connection in memory whose peer sends `chunks` and then leaves; answers all that could be noticed. */
async function outcomeOf(chunks: readonly Uint8Array[], goodbye: Uint8Array): Promise<string[]> {
  const [client, server] = duplexPair({ highWaterMark: 1 << 20 });
  const received = collect(client);
  const readings: Promise<string>[] = [];
  const onStream = (stream: SpdyStream) => {
    stream.accept();
    readings.push(readingOf(stream));
  };
  const connection = serveSpdy(server, { onStream, limits: { closeTimeoutMs: 1000 } });
  for (const chunk of chunks) {
    client.write(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  client.end(goodbye);
  await Promise.all([connection.closed, received.ended]);
  return [...received.frames(), ...(await Promise.all(readings))];
}

async function readingOf(stream: SpdyStream): Promise<string> {
  const pieces: Uint8Array[] = [];
  let end = "whole";
  try {
    for await (const piece of stream.incoming) pieces.push(piece);
  } catch (error) {
    end = messageOf(error);
  }
  await stream.closed;
  const data = Buffer.concat(pieces).toString("hex");
  const said = [...stream.headers].map(([key, value]) => `${key}=${value}`).join();
  // What a reader had before a reset depends on when it read.
  return `${stream.id} ${said} ${end} ${end.includes("reset") ? "" : data}`;
}

test("a conversation is the same in chunks of any size", async () => {
  await fc.assert(
    fc.asyncProperty(conversation, places, async (steps, where) => {
      const bytes = await bytesOf(steps);
      const whole = await outcomeOf([bytes], goAwayFrame());
      const cutUp = await outcomeOf(cut(bytes, where), goAwayFrame());
      expect(cutUp).toEqual(whole);
    }),
    fuzz(150),
  );
});

test("whatever a peer sends, the connection ends and nothing is thrown", async () => {
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);
  process.on("uncaughtException", note).on("unhandledRejection", note);
  const mutation = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.nat(255), fc.uint8Array({ maxLength: 100 }))
      .map(([type, flags, payload]) => frame(0x80030000 + type, flags, payload)),
    fc
      .tuple(fc.nat(9), fc.uint8Array({ maxLength: 60 }))
      .map(([id, block]) =>
        frame(0x80030001, 0, Buffer.concat([words(id, 0), Buffer.from("000078bbe3c6a7c2", "hex"), block])),
      ),
  );
  try {
    await fc.assert(
      fc.asyncProperty(
        conversation,
        fc.array(mutation, { maxLength: 5 }),
        garbage,
        places,
        async (steps, mutations, tail, where) => {
          const bytes = Buffer.concat([await bytesOf(steps), tail]);
          for (const [place, value] of mutations) bytes[place % bytes.length] = value;
          await outcomeOf(cut(bytes, where), Buffer.alloc(0));
        },
      ),
      fuzz(300),
    );
    expect(thrown).toEqual([]);
  } finally {
    process.off("uncaughtException", note).off("unhandledRejection", note);
  }
});

test("headers read back as zlib compressed them, block after block", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(headers, { minLength: 1, maxLength: 30 }), async (blocks) => {
      const compressor = new HeaderCompressor();
      const reader = new HeaderBlockReader({ maxHeaderBytes: 16 * 1024, maxHeaders: 10 });
      for (const block of blocks) {
        const read = reader.read(await compressor.block(headerText(block)));
        expect(Object.fromEntries(read)).toEqual(block);
      }
    }),
    fuzz(100),
  );
});

test("data reads back as it was written", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0x7fffffff }), fc.nat(200_000), places, (id, length, where) => {
      const data = Buffer.alloc(length, "data that repeats with a period of a prime.");
      const pieces: Uint8Array[] = [];
      let ends = 0;
      const parser = new FrameParser(
        {
          onData(streamId, piece, fin) {
            expect(streamId).toBe(id);
            expect(ends).toBe(0);
            pieces.push(piece);
            if (fin) ends += 1;
          },
          onControl: () => expect.unreachable(),
        },
        0,
      );
      const bytes = Buffer.concat([dataFrames(id, data), finFrame(id)]);
      for (const chunk of cut(bytes, where)) parser.push(chunk);
      expect(Buffer.concat(pieces).equals(data)).toBe(true);
      expect(ends).toBe(1);
    }),
    fuzz(100),
  );
});

// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { duplexPair } from "node:stream";
import {
  dataFrame,
  frame,
  goAwayFrame,
  pingFrame,
  resetFrame,
  words,
} from "../../../test/fixtures/spdy-peer.ts";
import { serveConnection, textOf, until } from "../../../test/fixtures/spdy-server.ts";
import { messageOf } from "../../errors.ts";
import { logger } from "../../lib/logger.ts";
import { serveSpdy } from "./connection.ts";

describe("a stream", () => {
  test("goes both ways and is closed when both halves are", async () => {
    await using served = await serveConnection();
    const { client, received } = served;
    const stream = await served.open(1, { streamtype: "stdin", port: "80" });
    expect([...stream.headers]).toEqual([
      ["streamtype", "stdin"],
      ["port", "80"],
    ]);
    client.write(dataFrame(1, "hello "));
    client.write(dataFrame(1, "world", true));
    expect(await textOf(stream.incoming)).toBe("hello world");
    await stream.write(Buffer.from("bye"));
    await stream.end();
    await stream.closed;
    await until("the end has come", () => received.frames().length === 3);
    expect(received.frames()).toEqual(["reply 1", "data 1:bye", "data 1 fin:"]);
  });

  test("may still be written to when the peer has half closed with its first frame", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1, {}, 1);
    expect(await textOf(stream.incoming)).toBe("");
    await stream.write(Buffer.from("late"));
    await stream.end();
    await stream.closed;
  });

  test("may still be read when the server has half closed", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    await stream.end();
    served.client.write(dataFrame(1, "late", true));
    expect(await textOf(stream.incoming)).toBe("late");
    await stream.closed;
  });

  test("takes nothing before it is accepted and nothing after its end", async () => {
    await using served = await serveConnection({ onStream: () => {} });
    const stream = await served.open(1);
    await expect(stream.write(Buffer.from("x"))).rejects.toThrow("SPDY stream 1 is not accepted yet");
    stream.accept();
    stream.accept();
    await stream.end();
    await expect(stream.write(Buffer.from("x"))).rejects.toThrow("SPDY stream 1 has ended");
    await expect(stream.end()).rejects.toThrow("SPDY stream 1 has ended");
    await until("the end has come", () => served.received.frames().length === 2);
    expect(served.received.frames()).toEqual(["reply 1", "data 1 fin:"]);
  });

  test("that the peer resets throws what has not come, and drops what waits", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    served.client.write(Buffer.concat([dataFrame(1, "torn"), resetFrame(1, 5)]));
    await stream.closed;
    await expect(textOf(stream.incoming)).rejects.toThrow("SPDY stream 1 was reset by the client, status 5");
    await expect(stream.write(Buffer.from("x"))).rejects.toThrow("was reset by the client");
  });

  test("that the peer resets behind its half close has all its data", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    served.client.write(Buffer.concat([dataFrame(1, "whole", true), resetFrame(1, 5)]));
    await stream.closed;
    expect(await textOf(stream.incoming)).toBe("whole");
  });

  test("that the server resets is over, and what comes late is discarded", async () => {
    await using served = await serveConnection();
    const { client, received } = served;
    const [first, second] = [await served.open(1), await served.open(3)];
    first.reset(3);
    first.reset(3);
    await first.closed;
    await expect(textOf(first.incoming)).rejects.toThrow("SPDY stream 1 was reset");
    client.write(Buffer.concat([dataFrame(1, "late"), dataFrame(1, "", true), resetFrame(1, 5)]));
    client.write(dataFrame(3, "in time", true));
    expect(await textOf(second.incoming)).toBe("in time");
    expect(received.frames()).toEqual(["reply 1", "reply 3", "reset 1 3"]);
  });

  test("that nobody can serve is reset, and the others go on", async () => {
    await using served = await serveConnection({
      onStream(stream) {
        if (stream.id === 1) throw new Error("no");
        stream.accept();
      },
    });
    const { level } = logger;
    logger.level = "silent";
    await served.open(1);
    logger.level = level;
    const stream = await served.open(3);
    served.client.write(dataFrame(3, "in time", true));
    expect(await textOf(stream.incoming)).toBe("in time");
    expect(served.received.frames()).toEqual(["reset 1 6", "reply 3"]);
  });

  test("is refused beyond the bound, until another one is over", async () => {
    await using served = await serveConnection({ limits: { maxStreams: 2 } });
    const { client, compressor, received } = served;
    await served.open(1);
    await served.open(3);
    client.write(await compressor.synStream(5, { a: "b" }));
    await until("the third is refused", () => received.frames().includes("reset 5 3"));
    client.write(resetFrame(1, 5));
    await served.open(7, { c: "d" });
    await until("the fourth is accepted", () => received.frames().includes("reply 7"));
  });

  test("is refused when it has no way back", async () => {
    await using served = await serveConnection();
    served.client.write(await served.compressor.synStream(1, {}, 2));
    await until("it is refused", () => served.received.frames().includes("reset 1 3"));
    expect(served.streams).toEqual([]);
  });
});

describe("a connection", () => {
  test("reads what came with the upgrade first", async () => {
    const bytes = Buffer.concat([pingFrame(1), pingFrame(3).subarray(0, 5)]);
    await using served = await serveConnection({ head: bytes });
    served.client.write(pingFrame(3).subarray(5));
    await until("both are answered", () => served.received.frames().length === 2);
    expect(served.received.frames()).toEqual(["ping 1", "ping 3"]);
  });

  test("answers pings of the peer's and ignores what needs no answer", async () => {
    await using served = await serveConnection();
    const { client, compressor } = served;
    const stream = await served.open(1);
    client.write(pingFrame(2));
    client.write(frame(0x80030004, 0, words(1, 4, 100)));
    client.write(frame(0x80030009, 0, words(1, 100)));
    client.write(frame(0x800300ff, 7, Buffer.alloc(1000)));
    client.write(await compressor.headers(1, { more: "headers" }));
    client.write(await compressor.headers(99, { of: "no stream" }));
    client.write(pingFrame(0xffffffff));
    client.write(await compressor.headers(1, { last: "headers" }, 1));
    expect(await textOf(stream.incoming)).toBe("");
    await until("the answer has come", () => served.received.frames().length > 1);
    expect(served.received.frames()).toEqual(["reply 1", "ping 4294967295"]);
    expect((await served.open(3, { last: "headers" })).headers.get("last")).toBe("headers");
  });

  test("that the peer leaves keeps its streams, takes no new ones, and ends with the last", async () => {
    await using served = await serveConnection();
    const { client, compressor, connection, received } = served;
    const stream = await served.open(1);
    client.write(goAwayFrame());
    client.write(await compressor.synStream(3, {}));
    client.write(Buffer.concat([dataFrame(3, "late"), dataFrame(1, "hello", true)]));
    expect(await textOf(stream.incoming)).toBe("hello");
    await stream.write(Buffer.from("bye"));
    await stream.end();
    await received.ended;
    expect(received.frames()).toEqual(["reply 1", "data 1:bye", "data 1 fin:", "goaway 3 0"]);
    expect(served.streams.length).toBe(1);
    client.end();
    await connection.closed;
  });

  test("that is lost ends its streams behind what came", async () => {
    await using served = await serveConnection();
    const { client, connection } = served;
    const [half, whole] = [await served.open(1), await served.open(3)];
    client.write(Buffer.concat([dataFrame(1, "half"), dataFrame(3, "whole", true)]));
    client.end();
    await Promise.all([connection.closed, half.closed, whole.closed]);
    expect(await textOf(whole.incoming)).toBe("whole");
    const pieces: string[] = [];
    const reading = async () => {
      for await (const piece of half.incoming) pieces.push(Buffer.from(piece).toString());
    };
    await expect(reading()).rejects.toThrow("the SPDY connection was lost");
    expect(pieces).toEqual(["half"]);
    await expect(half.write(Buffer.from("x"))).rejects.toThrow("the SPDY connection was lost");
  });

  test("is over at once when its socket already is", async () => {
    const [, socket] = duplexPair();
    socket.destroy();
    await new Promise((resolve) => socket.once("close", resolve));
    const connection = serveSpdy(socket, { onStream: () => {} });
    await connection.closed;
    await connection.close();
  });
});

describe("closing", () => {
  test("flushes, says GOAWAY last, and discards what still comes", async () => {
    await using served = await serveConnection();
    const { client, connection, received } = served;
    const [stream, other] = [await served.open(1), await served.open(3)];
    client.write(Buffer.concat([dataFrame(1, "typed ahead"), dataFrame(3, "whole", true)]));
    client.pause();
    const output = Buffer.alloc(20_000_000, "output");
    const written = stream.write(output);
    const ended = stream.end();
    await until("the data has come", () => served.serverSocket.bytesRead === client.bytesWritten);
    const closed = connection.close();
    await expect(stream.write(Buffer.from("x"))).rejects.toThrow("the SPDY connection was closed");
    await expect(textOf(stream.incoming)).rejects.toThrow("the SPDY connection was closed");
    expect(await textOf(other.incoming)).toBe("whole");
    client.write(dataFrame(1, Buffer.alloc(5_000_000)));
    client.resume();
    await Promise.all([written, ended, received.ended]);
    const frames = received.frames();
    expect(frames.slice(-2)).toEqual(["data 1 fin:", "goaway 3 0"]);
    const data = frames
      .filter((text) => text.startsWith("data 1:"))
      .map((text) => text.slice("data 1:".length));
    expect(data.join("") === output.toString()).toBe(true);
    client.end();
    await closed;
  });

  test("reads on when it had stopped, or the peer would lose what it was sent", async () => {
    await using served = await serveConnection({ limits: { maxBufferedBytes: 1000 } });
    const { client, connection, received, serverSocket } = served;
    const stream = await served.open(1);
    client.write(dataFrame(1, Buffer.alloc(1001), true));
    await until("the stream is full", () => serverSocket.bytesRead === client.bytesWritten);
    client.write(dataFrame(1, Buffer.alloc(16_000_000)));
    client.once("end", () => client.end());
    await connection.close();
    expect(received.frames()).toEqual(["reply 1", "goaway 1 0"]);
    expect((await textOf(stream.incoming)).length).toBe(1001);
    expect(serverSocket.bytesRead).toBeGreaterThan(16_000_000);
  });

  test("while bytes are being read hears no more of them, and still flushes", async () => {
    let written: Promise<void> | undefined;
    await using served = await serveConnection({
      onStream(stream) {
        stream.accept();
        written = stream.write(Buffer.alloc(20_000_000));
        void served.connection.close();
      },
    });
    const { client, compressor, received } = served;
    const opening = [await compressor.synStream(1, {}), await compressor.synStream(3, {})];
    client.write(Buffer.concat([...opening, dataFrame(5, "x"), frame(0x80020001, 0, words(1))]));
    await received.ended;
    await written;
    expect(received.bytes().length).toBeGreaterThan(20_000_000);
    expect(received.frames().at(-1)).toBe("goaway 1 0");
    expect(served.streams.length).toBe(1);
    client.end();
    await served.connection.closed;
  });

  test("does not wait for ever for a peer that does not read or does not close", async () => {
    const limits = { closeTimeoutMs: 200 };
    await using reading = await serveConnection({ limits });
    await reading.open(1);
    await reading.connection.close();
    await using stalled = await serveConnection({ limits });
    const stream = await stalled.open(1);
    stalled.client.pause();
    const outcomes = Promise.allSettled([stream.write(Buffer.alloc(50_000_000)), stream.end()]);
    await stalled.connection.close();
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await stream.closed;
  });

  test("by force rejects what is under way", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    const reading = textOf(stream.incoming).catch(messageOf);
    served.connection.destroy();
    await Promise.all([served.connection.closed, stream.closed, served.received.ended]);
    expect(await reading).toBe("the SPDY connection was closed");
    await expect(stream.end()).rejects.toThrow("the SPDY connection was closed");
    stream.accept();
    stream.reset(5);
  });
});

describe("a peer that breaks the protocol gets GOAWAY and is heard no more", () => {
  const cases: [string, (served: Awaited<ReturnType<typeof serveConnection>>) => Promise<Buffer> | Buffer][] =
    [
      ["another version", () => frame(0x80020006, 0, words(1))],
      ["data for stream 0", () => dataFrame(0, "x")],
      ["data for a stream that was never opened", () => dataFrame(3, "x")],
      ["a ping of the wrong length", () => frame(0x80030006, 0, words(1, 2))],
      ["a control frame that is too long", () => frame(0x80030004, 0, Buffer.alloc(70_000))],
      [
        "a header block that is none",
        () => frame(0x80030001, 0, Buffer.concat([words(3, 0), Buffer.alloc(40)])),
      ],
      ["an even stream id", ({ compressor }) => compressor.synStream(4, {})],
      ["a stream id that was there before", ({ compressor }) => compressor.synStream(1, {})],
      [
        "a reply to nothing",
        async ({ compressor }) => {
          const block = await compressor.block(words(0));
          return frame(0x80030002, 0, Buffer.concat([words(1), block]));
        },
      ],
    ];
  test("though it does not read what it is sent", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    served.client.pause();
    const written = stream.write(Buffer.alloc(50_000_000)).catch(messageOf);
    served.client.write(dataFrame(0, "x"));
    expect(await written).toBe("the SPDY connection was closed: a DATA frame belongs to stream 0");
  });

  test.each(cases)("%s", async (_, bytesOf) => {
    await using served = await serveConnection();
    const { client, connection, received } = served;
    const stream = await served.open(1);
    client.write(Buffer.concat([await bytesOf(served), dataFrame(1, "x"), pingFrame(5)]));
    await received.ended;
    expect(received.frames()).toEqual(["reply 1", "goaway 1 1"]);
    await expect(textOf(stream.incoming)).rejects.toThrow("the SPDY connection was closed: ");
    client.end();
    await Promise.all([connection.closed, stream.closed]);
  });
});

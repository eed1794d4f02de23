// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import { collect, dataFrame, pingFrame } from "../../../test/fixtures/spdy-peer.ts";
import { serveConnection, textOf, until } from "../../../test/fixtures/spdy-server.ts";
import { messageOf } from "../../errors.ts";
import { type SpdyStream, serveSpdy } from "./connection.ts";

const MIB = 1024 * 1024;

/** Resolves when the other side has not taken anything for a while. */
async function stalled(socket: Socket): Promise<void> {
  for (let last = -1, quiet = 0; quiet < 10; quiet++) {
    const written = socket.bytesWritten - socket.writableLength;
    if (written !== last || socket.writableLength === 0) quiet = 0;
    last = written;
    await Bun.sleep(20);
  }
}

async function countBytes(stream: SpdyStream): Promise<number> {
  let count = 0;
  for await (const piece of stream.incoming) count += piece.length;
  return count;
}

describe("reading", () => {
  test("stops when nobody consumes, and what waited comes later", async () => {
    await using served = await serveConnection();
    const { client, serverSocket } = served;
    const [full, other] = [await served.open(1), await served.open(3)];
    const data = Buffer.alloc(100_000, "0123456789");
    const count = 500;
    for (let index = 0; index < count; index++) client.write(dataFrame(1, data, index === count - 1));
    client.write(dataFrame(3, "behind", true));
    await stalled(client);
    // The bound, what one read of the socket brings, and what it had read ahead.
    expect(serverSocket.bytesRead).toBeLessThan(4 * MIB);
    const behind = textOf(other.incoming);
    expect(await countBytes(full)).toBe(data.length * count);
    expect(await behind).toBe("behind");
  }, 30_000);

  test("stops for all streams together, and goes on when one is reset", async () => {
    await using served = await serveConnection({ limits: { maxConnectionBufferedBytes: 4 * MIB } });
    const { client } = served;
    const streams: SpdyStream[] = [];
    for (let id = 1; id < 41; id += 2) streams.push(await served.open(id));
    for (const { id } of streams) client.write(dataFrame(id, Buffer.alloc(MIB)));
    client.write(pingFrame(1));
    await stalled(client);
    expect(served.serverSocket.bytesRead).toBeLessThan(7 * MIB);
    for (const stream of streams) stream.reset(5);
    await until("all was read", () => served.received.frames().includes("ping 1"));
  }, 30_000);

  test("does not stop for a stream whose reader has left, or that is only written to", async () => {
    await using served = await serveConnection();
    const { client, received } = served;
    const [left, output] = [await served.open(1), await served.open(3)];
    client.write(Buffer.concat([dataFrame(1, "first"), dataFrame(3, "first")]));
    for await (const _ of left.incoming) break;
    output.discardIncoming();
    for (const id of [1, 3]) {
      for (let index = 0; index < 50; index++) client.write(dataFrame(id, Buffer.alloc(100_000)));
    }
    client.write(pingFrame(1));
    await until("all was read", () => received.frames().includes("ping 1"));
    expect(await textOf(output.incoming)).toBe("");
    let isClosed = false;
    void output.closed.then(() => {
      isClosed = true;
    });
    await output.end();
    expect(isClosed).toBe(false);
    client.write(dataFrame(3, "", true));
    await output.closed;
  });

  test("notices a peer that has gone while nobody consumes", async () => {
    await using served = await serveConnection({ limits: { probeIntervalMs: 50 } });
    const { client, connection } = served;
    const stream = await served.open(1);
    client.write(dataFrame(1, Buffer.alloc(16 * MIB - 1)));
    await stalled(client);
    await until(
      "probes came",
      () => served.received.frames().filter((text) => text === "settings").length > 1,
    );
    client.destroy();
    await Promise.all([connection.closed, stream.closed]);
    await expect(countBytes(stream)).rejects.toThrow("the SPDY connection was lost");
  }, 30_000);

  test("stops when the peer does not read the answers that it asks for", async () => {
    const [client, server] = duplexPair();
    const connection = serveSpdy(server, { onStream: () => {} });
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => pingFrame(1)));
    const total = 4 * MIB;
    for (let sent = 0; sent < total; sent += pings.length) client.write(pings);
    await Bun.sleep(200);
    expect(server.writableLength).toBeGreaterThan(MIB / 2);
    expect(server.writableLength).toBeLessThan(2 * MIB);
    const received = collect(client);
    await until("every ping is answered", () => received.bytes().length >= total);
    connection.destroy();
  });
});

describe("writing", () => {
  test("waits for the peer, and streams take turns", async () => {
    await using served = await serveConnection();
    const { client, received } = served;
    const streams = [await served.open(1), await served.open(3), await served.open(5)];
    client.pause();
    const order: number[] = [];
    const [first, second, third] = streams as [SpdyStream, SpdyStream, SpdyStream];
    const writes = [
      first.write(Buffer.alloc(30 * MIB, "1")).then(() => order.push(1)),
      second.write(Buffer.alloc(2 * MIB, "3")).then(() => order.push(3)),
      third.write(Buffer.from("5")).then(() => order.push(5)),
      third.write(Buffer.from("6")).then(() => order.push(6)),
    ];
    await Bun.sleep(100);
    expect(order).toEqual([]);
    expect(served.serverSocket.writableLength).toBeLessThan(MIB);
    client.resume();
    await Promise.all(writes);
    expect(order).toEqual([5, 6, 3, 1]);
    const bytes = (id: number) =>
      received
        .frames()
        .filter((text) => text.startsWith(`data ${id}:`))
        .map((text) => text.slice(7))
        .join("");
    // The first is the last to be written.
    await until("all came", () => received.bytes().length > 32 * MIB && bytes(1).length >= 30 * MIB);
    expect([bytes(1).length, bytes(3).length, bytes(5)]).toEqual([30 * MIB, 2 * MIB, "56"]);
  }, 30_000);

  test("that waits is rejected when its stream is reset, and only that", async () => {
    await using served = await serveConnection();
    const { client, received } = served;
    const [gone, other] = [await served.open(1), await served.open(3)];
    client.pause();
    const lost = gone.write(Buffer.alloc(30 * MIB)).catch(messageOf);
    const kept = other.write(Buffer.alloc(MIB));
    gone.reset(5);
    expect(await lost).toBe("SPDY stream 1 was reset");
    client.resume();
    await kept;
    await other.end();
    await until(
      "the other has ended",
      () => received.bytes().length > 0 && received.frames().includes("data 3 fin:"),
    );
    const frames = received.frames();
    const afterReset = frames.slice(frames.indexOf("reset 1 5"));
    expect(afterReset.some((text) => text.startsWith("data 1"))).toBe(false);
  }, 30_000);

  test("many small pieces without waiting for each goes out in few", async () => {
    await using served = await serveConnection();
    const stream = await served.open(1);
    for (let index = 0; index < 20_000; index++) await stream.write(Buffer.from("x"));
    await stream.end();
    await until("all came", () => served.received.bytes().length >= 20_000 * 9);
    const frames = served.received.frames().filter((text) => text === "data 1:x");
    expect(frames.length).toBe(20_000);
  });
});

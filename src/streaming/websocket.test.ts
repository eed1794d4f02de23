// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket } from "ws-node";
import type { ChannelCodec } from "./protocols.ts";
import { acceptWebSocket, type ChannelSocket, channelsOver } from "./websocket.ts";
import { duplexOver } from "./websocket-duplex.ts";

const BINARY: ChannelCodec = { isBase64: false, hasHalfClose: true };
const BASE64: ChannelCodec = { isBase64: true, hasHalfClose: false };
const MIB = 1024 * 1024;

interface Pair extends AsyncDisposable {
  readonly server: WebSocket;
  readonly client: WebSocket;
  /** What the client got, in order: the opcode's kind and the bytes as latin1. */
  readonly messages: string[];
  readonly closed: Promise<number>;
}

async function connected(): Promise<Pair> {
  const http = createServer();
  const accepted = new Promise<WebSocket>((resolve) => {
    http.on("upgrade", (request, socket, head) =>
      acceptWebSocket({ request, socket, head, protocol: "", closeTimeoutMs: 5000 }, resolve),
    );
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/`);
  const messages: string[] = [];
  client.on("message", (data: Buffer, isBinary: boolean) => {
    messages.push(`${isBinary ? "binary" : "text"} ${data.toString("latin1")}`);
  });
  client.on("error", () => {});
  const closed = new Promise<number>((resolve) => client.on("close", resolve));
  const server = await accepted;
  if (client.readyState !== WebSocket.OPEN) await new Promise((resolve) => client.once("open", resolve));
  return {
    server,
    client,
    messages,
    closed,
    async [Symbol.asyncDispose]() {
      client.terminate();
      server.terminate();
      http.close();
    },
  };
}

async function nextOf(channels: ChannelSocket, id: number): Promise<(count: number) => Promise<string>> {
  const iterator = channels.channel(id).incoming[Symbol.asyncIterator]();
  return async (count) => {
    let text = "";
    while (text.length < count) {
      const { done, value } = await iterator.next();
      if (done) return `${text} END`;
      text += Buffer.from(value).toString("latin1");
    }
    return text;
  };
}

async function eventually(isSo: () => boolean): Promise<void> {
  for (let round = 0; round < 600 && !isSo(); round++) await Bun.sleep(5);
  expect(isSo()).toBe(true);
}

test("the first byte of a binary message is its channel", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const stdin = await nextOf(channels, 0);
  const resize = await nextOf(channels, 4);
  await channels.channel(1).write(Buffer.from("out"));
  await channels.channel(2).write(new Uint8Array(0));
  await eventually(() => pair.messages.length === 2);
  expect(pair.messages).toEqual(["binary \x01out", "binary \x02"]);
  pair.client.send(Buffer.from("\x00in"));
  pair.client.send(Buffer.from("\x04size"));
  pair.client.send(Buffer.from("\x07nobody asked"));
  pair.client.send(Buffer.alloc(0));
  pair.client.send(Buffer.from("\x00put"));
  expect(await stdin(5)).toBe("input");
  expect(await resize(4)).toBe("size");
});

test("or, in base64, the first digit of a text", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BASE64);
  const stdin = await nextOf(channels, 0);
  await channels.channel(3).write(Uint8Array.of(0, 255, 128));
  await eventually(() => pair.messages.length === 1);
  expect(pair.messages).toEqual([`text 3${Buffer.of(0, 255, 128).toString("base64")}`]);
  pair.client.send(`0${Buffer.of(1, 254).toString("base64")}`);
  pair.client.send("0!not base64!");
  pair.client.send(`0${Buffer.from("x").toString("base64")}`);
  expect(await stdin(2)).toBe("\x01\xfe");
});

test("a message 255 ends the channel that it names, where the version knows that", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const stdin = await nextOf(channels, 0);
  const resize = await nextOf(channels, 4);
  pair.client.send(Buffer.from("\x00last"));
  pair.client.send(Buffer.of(255, 9));
  pair.client.send(Buffer.of(255));
  pair.client.send(Buffer.of(255, 0));
  pair.client.send(Buffer.from("\x00too late"));
  pair.client.send(Buffer.from("\x04size"));
  expect(await stdin(100)).toBe("last END");
  expect(await resize(4)).toBe("size");

  await using older = await connected();
  const oldChannels = channelsOver(older.server, { isBase64: false, hasHalfClose: false });
  const oldStdin = await nextOf(oldChannels, 0);
  older.client.send(Buffer.of(255, 0));
  older.client.send(Buffer.from("\x00more"));
  expect(await oldStdin(4)).toBe("more");
});

test("what was written arrives before the close, whose code is that of success", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const data = Buffer.alloc(3 * MIB, "x");
  await channels.channel(1).write(data);
  await channels.close();
  expect(await pair.closed).toBe(1000);
  expect(pair.messages[0]!.length).toBe("binary ".length + 1 + data.length);
});

test("a close does not wait for input that nobody reads", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  channels.channel(0);
  for (let count = 0; count < 8; count++) pair.client.send(Buffer.alloc(MIB));
  await eventually(() => pair.server.isPaused);
  await channels.channel(3).write(Buffer.from("over"));
  await channels.close();
  expect(await pair.closed).toBe(1000);
  expect(pair.messages).toEqual(["binary \x03over"]);
});

test("a client that sends more than is read is held back, kept alive with pongs, and let go on", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY, 20);
  const stdin = channels.channel(0);
  let pongs = 0;
  let sent = 0;
  pair.client.on("pong", () => pongs++);
  for (let count = 0; count < 64; count++) pair.client.send(Buffer.alloc(MIB), () => sent++);
  await eventually(() => pair.server.isPaused && pongs >= 3);
  expect(sent).toBeLessThan(64);
  let received = 0;
  for await (const { length } of stdin.incoming) {
    received += length;
    if (received === 64 * (MIB - 1)) break;
  }
  expect(sent).toBe(64);
  expect(pair.server.isPaused).toBe(false);
  const before = pongs;
  await Bun.sleep(100);
  expect(pongs).toBe(before);
});

test("what is sent on a channel that is only written to is dropped, and holds nothing back", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const stdin = await nextOf(channels, 0);
  const stdout = channels.output(1);
  for (let count = 0; count < 8; count++) pair.client.send(Buffer.alloc(MIB, 1));
  pair.client.send(Buffer.from("\x00behind it"));
  expect(await stdin(9)).toBe("behind it");
  await stdout.write(Buffer.from("out"));
  await eventually(() => pair.messages.length === 1);
});

test("pings are answered", async () => {
  await using pair = await connected();
  channelsOver(pair.server, BINARY);
  const pong = new Promise<Buffer>((resolve) => pair.client.on("pong", resolve));
  pair.client.ping("are you there");
  expect((await pong).toString()).toBe("are you there");
});

test("a client that sends pings and reads nothing gets the latest answer, not all of them", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const pongs: string[] = [];
  pair.client.on("pong", (data) => pongs.push(data.toString()));
  pair.client.pause();
  const write = channels.channel(1).write(Buffer.alloc(32 * MIB));
  await Bun.sleep(50);
  for (let count = 0; count < 500; count++) pair.client.ping(`ping ${count}`);
  await Bun.sleep(200);
  pair.client.resume();
  await write;
  await eventually(() => pongs.at(-1) === "ping 499");
  expect(pongs.length).toBeLessThan(10);
  expect(pair.server.readyState).toBe(WebSocket.OPEN);
});

test("a message beyond the bound ends the connection, and what waits for it", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  const stdin = channels.channel(0);
  pair.client.send(Buffer.alloc(5 * MIB));
  expect(await pair.closed).toBe(1009);
  await channels.closed;
  expect(Array.fromAsync(stdin.incoming)).rejects.toThrow("closed the connection");
  expect(channels.channel(1).write(Buffer.from("x"))).rejects.toThrow();
  await Bun.sleep(0);
});

test("a write to a client that vanishes fails instead of waiting for ever", async () => {
  await using pair = await connected();
  const channels = channelsOver(pair.server, BINARY);
  pair.client.pause();
  const writes = Array.from({ length: 32 }, () => channels.channel(1).write(Buffer.alloc(MIB)));
  const outcome = Promise.allSettled(writes);
  await Bun.sleep(50);
  pair.client.terminate();
  expect((await outcome).at(-1)!.status).toBe("rejected");
  await channels.closed;
});

test("a tunnel is a byte stream both ways, holds back both ways and ends with success", async () => {
  await using pair = await connected();
  const duplex = duplexOver(pair.server);
  for (let count = 0; count < 64; count++) pair.client.send(Buffer.alloc(MIB, count));
  await eventually(() => pair.server.isPaused);
  let received = 0;
  duplex.on("data", (data: Buffer) => {
    received += data.length;
  });
  await eventually(() => received === 64 * MIB);
  pair.client.pause();
  let isFull = false;
  for (let count = 0; count < 64; count++) isFull = !duplex.write(Buffer.alloc(MIB)) || isFull;
  expect(isFull).toBe(true);
  duplex.end("end");
  pair.client.resume();
  expect(await pair.closed).toBe(1000);
  expect(pair.messages.reduce((sum, text) => sum + text.length - "binary ".length, 0)).toBe(64 * MIB + 3);
});

test("a tunnel ends when its client leaves, and when that sends text", async () => {
  await using leaving = await connected();
  const left = duplexOver(leaving.server);
  left.resume();
  const ended = new Promise((resolve) => left.once("end", resolve));
  leaving.client.close(1000);
  await ended;

  await using wrong = await connected();
  const duplex = duplexOver(wrong.server);
  const failed = new Promise<Error>((resolve) => duplex.once("error", resolve));
  wrong.client.send("text");
  expect((await failed).message).toContain("binary messages only");
  await wrong.closed;
});

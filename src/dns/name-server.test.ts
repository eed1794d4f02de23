// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { createSocket, type Socket } from "node:dgram";
import { connect, createServer } from "node:net";
import { failureOf, NXDOMAIN, REFUSED, rcodeOf, readQuery, SERVFAIL, TYPE_A, TYPE_PTR } from "./message.ts";
import { type NameServer, openNameServer } from "./name-server.ts";
import { queryBytes } from "./query-bytes.ts";
import { framed, messageReader, type Upstream } from "./upstream.ts";

const POD = "10.85.0.2";
const many = Array.from({ length: 60 }, (_, index) => `10.85.1.${index}`);
const names = {
  addressesOf: (name: string) => ({ "web.default.svc": [POD], "default.svc": [], many })[name],
  nameOf: (address: string) => (address === POD ? "web.default.svc" : undefined),
};
const isClient = (address: string) => address === "127.0.0.1" || address.startsWith("10.85.");
let server: NameServer | undefined;
let port = 0;
let upstreams: Upstream[] = [];
const warnings: string[] = [];
const sockets: { close(): unknown }[] = [];
const log = { warn: (_fields: object, message: string) => void warnings.push(message) };

function open(gateways: readonly string[], client = isClient): NameServer {
  return openNameServer({
    gateways: () => gateways,
    isUsed: () => true,
    isClient: client,
    upstreams: () => upstreams,
    port,
    log,
  });
}

beforeEach(async () => {
  upstreams = [];
  warnings.length = 0;
  port = await freePort();
});
afterEach(() => {
  server?.close();
  for (const socket of sockets.splice(0)) socket.close();
});

async function freePort(): Promise<number> {
  const socket = await bound();
  const { port: found } = socket.address();
  socket.close();
  return found;
}

async function bound(address = "127.0.0.1"): Promise<Socket> {
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.bind(0, address, () => resolve());
  await promise;
  return socket;
}

/** Asks over UDP; undefined where no answer came before that to a later query. */
async function ask(message: Uint8Array, from = "127.0.0.1"): Promise<Buffer> {
  const socket = await bound(from);
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  socket.on("message", (answer) => resolve(answer));
  socket.send(message, port, "127.0.0.1");
  try {
    return await promise;
  } finally {
    socket.close();
  }
}

async function askTcp(...messages: Uint8Array[]): Promise<Uint8Array[]> {
  const answers: Uint8Array[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const reader = messageReader(0xffff, (answer) => {
    answers.push(answer);
    if (answers.length === messages.length) resolve();
  });
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("data", (bytes: Uint8Array) => void reader(bytes));
  socket.on("close", () => resolve());
  for (const message of messages) socket.write(framed(message));
  await promise;
  socket.destroy();
  return answers;
}

/** A server that answers every query with this address, or refuses it; it tells what it was asked. */
async function upstream(asked: Uint8Array[], isWilling = true): Promise<Upstream> {
  const socket = await bound();
  sockets.push(socket);
  socket.on("message", (message, { port: to, address }) => {
    asked.push(message);
    const reading = readQuery(message);
    if (reading.kind !== "query") return;
    const answer = failureOf(reading.query, isWilling ? 0 : REFUSED);
    socket.send(isWilling ? Buffer.concat([answer, Buffer.from("extra")]) : answer, to, address);
  });
  return { address: "127.0.0.1", port: socket.address().port };
}

test("answers the names of pods over UDP and TCP, and does not ask others for them", async () => {
  const asked: Uint8Array[] = [];
  upstreams = [await upstream(asked)];
  server = open(["127.0.0.1"]);
  const query = queryBytes("web.default.svc.cluster.local", TYPE_A, 99);
  // Nobody knows the names yet.
  expect(rcodeOf(await ask(query))).toBe(SERVFAIL);
  server.answerFor(names);
  const answer = await ask(query);
  expect(answer.readUInt16BE(0)).toBe(99);
  expect([...answer.subarray(-4)]).toEqual([10, 85, 0, 2]);
  expect(rcodeOf(await ask(queryBytes("none.default.svc.cluster.local", TYPE_A)))).toBe(NXDOMAIN);
  const empty = await ask(queryBytes("default.svc.cluster.local", TYPE_A));
  expect([rcodeOf(empty), empty.readUInt16BE(6)]).toEqual([0, 0]);
  const reverse = await ask(queryBytes("2.0.85.10.in-addr.arpa", TYPE_PTR));
  expect(reverse.includes(Buffer.from("\x03web\x07default"))).toBeTrue();
  // Too many for a datagram; a connection has room, and takes one query after the other.
  const truncated = await ask(queryBytes("many.cluster.local", TYPE_A));
  expect(truncated.readUInt16BE(2) & 0x0200).toBe(0x0200);
  const [first, second] = await askTcp(queryBytes("many.cluster.local", TYPE_A, 1), query);
  expect(Buffer.from(first!).readUInt16BE(6)).toBe(60);
  expect([...second!.subarray(-4)]).toEqual([10, 85, 0, 2]);
  expect(asked).toEqual([]);
  expect(server.address()).toBe("127.0.0.1");
});

test("forwards other names as they came, under another id, to the next server where one does not want to", async () => {
  const [refusing, willing]: Uint8Array[][] = [[], []];
  upstreams = [await upstream(refusing!, false), await upstream(willing!)];
  server = open(["127.0.0.1"]);
  const query = Buffer.concat([queryBytes("example.com", TYPE_A, 99), Buffer.from("options")]);
  const answer = await ask(query);
  expect(answer.readUInt16BE(0)).toBe(99);
  expect(answer.subarray(-5).toString()).toBe("extra");
  expect(refusing).toHaveLength(1);
  expect(Buffer.from(willing![0]!).subarray(2)).toEqual(query.subarray(2));
});

test("says that it failed where nobody answers, and forwards over TCP what came over TCP", async () => {
  server = open(["127.0.0.1"]);
  expect(rcodeOf(await ask(queryBytes("example.com", TYPE_A)))).toBe(SERVFAIL);
  const listener = createServer((socket) => {
    const reader = messageReader(0xffff, (message) => {
      const reading = readQuery(message);
      if (reading.kind === "query") socket.write(framed(failureOf(reading.query, NXDOMAIN)));
    });
    socket.on("data", (bytes: Uint8Array) => void reader(bytes));
  });
  sockets.push(listener);
  const listening = Promise.withResolvers<void>();
  listener.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const { port: tcpPort } = listener.address() as { port: number };
  upstreams = [{ address: "127.0.0.1", port: tcpPort }];
  const [answer] = await askTcp(queryBytes("example.com", TYPE_A));
  expect(rcodeOf(answer!)).toBe(NXDOMAIN);
});

test("survives what is no query: too large, broken, an answer, a stream of nothing", async () => {
  server = open(["127.0.0.1"]);
  server.answerFor(names);
  const socket = await bound();
  sockets.push(socket);
  for (const bytes of [Buffer.alloc(9000, 1), Buffer.alloc(3), Buffer.alloc(0), Buffer.alloc(12, 0xff)]) {
    socket.send(bytes, port, "127.0.0.1");
  }
  expect(await askTcp(Buffer.alloc(5000))).toEqual([]);
  const web = queryBytes("web.default.svc.cluster.local", TYPE_A);
  expect([...(await ask(web)).subarray(-4)]).toEqual([10, 85, 0, 2]);
});

test("answers nobody but the pods", async () => {
  server = open(["127.0.0.1"], (address) => address === "127.0.0.2");
  server.answerFor(names);
  const web = queryBytes("web.default.svc.cluster.local", TYPE_A, 5);
  const stranger = await bound("127.0.0.1");
  sockets.push(stranger);
  const heard: Uint8Array[] = [];
  stranger.on("message", (message) => heard.push(message));
  stranger.send(web, port, "127.0.0.1");
  // What came later was answered, so what came before it will not be.
  expect((await ask(web, "127.0.0.2")).readUInt16BE(0)).toBe(5);
  expect(heard).toEqual([]);
  expect(await askTcp(web)).toEqual([]);
});

test("listens where the machine has no such address yet, and where the port is taken pods are told of no server", async () => {
  server = open(["192.0.2.77"]);
  expect(server.address()).toBe("192.0.2.77");
  server.close();
  const other = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<void>();
  other.bind(port, "127.0.0.1", () => resolve());
  await promise;
  server = open(["127.0.0.1"]);
  expect(server.address()).toBeUndefined();
  expect(warnings).toEqual([
    expect.stringContaining(`cannot listen on port ${port} of 127.0.0.1; free it, or set`),
  ]);
  other.close();
  // Tried again.
  expect(server.address()).toBe("127.0.0.1");
});

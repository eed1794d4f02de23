// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { type FakeRegistry, startFakeRegistry } from "../../test/fixtures/fake-registry.ts";
import { socketAddress4 } from "../linux/abi/socket.ts";
import { syscall, trySyscall } from "../linux/syscall.ts";
import { tcpSocket } from "../linux/tcp.ts";
import { type Access, send } from "./registry-transport.ts";

let server: FakeRegistry;
let other: FakeRegistry;
beforeEach(() => {
  server = startFakeRegistry();
  other = startFakeRegistry();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

function get(url: string, access: Partial<Access>) {
  const endpoint = { origin: server.url, access: { tls: {}, headers: {}, ...access } };
  return send({ url, authorization: "Basic own" }, { endpoint, stallTimeoutMs: 5000 });
}

test("headers of an endpoint are sent to it, and not to where it redirects", async () => {
  server.override = () => new Response("", { status: 307, headers: { location: `${other.url}/there` } });
  await (await get(`${server.url}/v2/`, { headers: { "x-key": "k" } })).discard();
  expect(server.requests.map(({ headers }) => headers.get("x-key"))).toEqual(["k"]);
  expect(other.requests.map(({ headers }) => [headers.get("x-key"), headers.get("authorization")])).toEqual([
    [null, null],
  ]);
});

test("the credentials of a request count before a header of the same name", async () => {
  await (await get(`${server.url}/v2/`, { headers: { authorization: "of the file" } })).discard();
  expect(server.requests[0]?.headers.get("authorization")).toBe("Basic own");
});

test("an endpoint with a proxy is asked through it", async () => {
  const answer = await get(`${server.url}/v2/`, { proxy: other.url });
  await answer.discard();
  expect(server.requests).toEqual([]);
  expect(other.requests.map(({ path }) => path)).toEqual(["/v2/"]);
});

test("with a dial timeout a port that nothing listens on is told as without", async () => {
  await server[Symbol.asyncDispose]();
  await expect(get(`${server.url}/v2/`, { dialTimeoutMs: 5000 })).rejects.toThrow(
    "refuses connections (ECONNREFUSED)",
  );
});

test("an endpoint that takes no connection in time is given up", async () => {
  // A queue of one connection that nobody accepts: the kernel drops the requests for more.
  using listening = tcpSocket(4);
  const address = socketAddress4([127, 0, 0, 1], 0);
  syscall("bind", listening.number, address, address.length);
  syscall("listen", listening.number, 0);
  const length = new Uint8Array([address.length, 0, 0, 0]);
  syscall("getsockname", listening.number, address, length);
  const port = new DataView(address.buffer, address.byteOffset).getUint16(2);
  const full = socketAddress4([127, 0, 0, 1], port);
  using first = tcpSocket(4);
  using second = tcpSocket(4);
  for (const filler of [first, second]) trySyscall("connect", filler.number, full, full.length);
  const origin = `http://127.0.0.1:${port}`;
  const endpoint = { origin, access: { tls: {}, headers: {}, dialTimeoutMs: 100 } };
  const attempt = send({ url: `${origin}/v2/` }, { endpoint, stallTimeoutMs: 60_000 });
  await expect(attempt).rejects.toThrow(`127.0.0.1:${port} took no connection within 0.1 s`);
});

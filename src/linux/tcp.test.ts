// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { createServer } from "node:net";
import { loopbackAddress4, loopbackAddress6 } from "./abi/socket.ts";
import type { Fd } from "./fd.ts";
import { SyscallError, syscall } from "./syscall.ts";
import { connectLoopback, type IpVersion, tcpSocket } from "./tcp.ts";

const TIMEOUT_MS = 5000;

/** Listens without ever accepting; `backlog` connections are made by the kernel all the same. */
function listenOnly(version: IpVersion, backlog: number): { socket: Fd; port: number } {
  const socket = tcpSocket(version);
  const address = version === 4 ? loopbackAddress4(0) : loopbackAddress6(0);
  syscall("bind", socket.number, address, address.length);
  syscall("listen", socket.number, backlog);
  const length = new Uint8Array(new Int32Array([address.length]).buffer);
  syscall("getsockname", socket.number, address, length);
  return { socket, port: new DataView(address.buffer).getUint16(2, false) };
}

test("a connection to either loopback address stands when the call returns", async () => {
  for (const version of [4, 6] as const) {
    const { socket: listening, port } = listenOnly(version, 8);
    using _listening = listening;
    using socket = tcpSocket(version);
    await connectLoopback(socket, version, port, TIMEOUT_MS);
    const bytes = new TextEncoder().encode("hello");
    expect(syscall("write", socket.number, bytes, bytes.length)).toBe(5);
  }
});

test("a port where nobody listens refuses, by the address that was tried", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  for (const version of [4, 6] as const) {
    using socket = tcpSocket(version);
    const failed = connectLoopback(socket, version, port, TIMEOUT_MS);
    const shown = version === 4 ? `127.0.0.1:${port}` : `[::1]:${port}`;
    expect(failed).rejects.toThrow(`connect ${shown}: ECONNREFUSED`);
    await failed.catch(() => {});
  }
});

test("one that does not answer is given up in time", async () => {
  const { socket: listening, port } = listenOnly(4, 0);
  using _listening = listening;
  using first = tcpSocket(4);
  using second = tcpSocket(4);
  // The kernel takes one connection more than the backlog and lets the next ones wait.
  await connectLoopback(first, 4, port, TIMEOUT_MS);
  const startMs = performance.now();
  const error = await connectLoopback(second, 4, port, 150).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SyscallError);
  expect((error as SyscallError).code).toBe("ETIMEDOUT");
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(150);
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { createServer } from "node:net";
import { socketAddress4, socketAddress6 } from "./abi/socket.ts";
import type { Fd } from "./fd.ts";
import { SyscallError, syscall } from "./syscall.ts";
import { connectTcp, tcpSocket } from "./tcp.ts";

const TIMEOUT_MS = 5000;
const LOOPBACK6 = [...Array(15).fill(0), 1] as number[];
const loopback = (version: 4 | 6) => (version === 4 ? "127.0.0.1" : "::1");

/** Listens without ever accepting; `backlog` connections are made by the kernel all the same. */
function listenOnly(version: 4 | 6, backlog: number): { socket: Fd; port: number } {
  const socket = tcpSocket(version);
  const address = version === 4 ? socketAddress4([127, 0, 0, 1], 0) : socketAddress6(LOOPBACK6, 0);
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
    const socket = await connectTcp(undefined, loopback(version), port, TIMEOUT_MS);
    await new Promise<void>((resolve, reject) =>
      socket.write("hello", (error) => (error ? reject(error) : resolve())),
    );
    socket.destroy();
  }
});

test("a port where nobody listens refuses, by the address that was tried", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  for (const version of [4, 6] as const) {
    const failed = connectTcp(undefined, loopback(version), port, TIMEOUT_MS);
    const shown = version === 4 ? `127.0.0.1:${port}` : `[::1]:${port}`;
    expect(failed).rejects.toThrow(`connect ${shown}: ECONNREFUSED`);
    await failed.catch(() => {});
  }
});

test("one that does not answer is given up in time", async () => {
  const { socket: listening, port } = listenOnly(4, 0);
  using _listening = listening;
  // The kernel takes one connection more than the backlog and lets the next ones wait.
  const first = await connectTcp(undefined, "127.0.0.1", port, TIMEOUT_MS);
  const startMs = performance.now();
  const error = await connectTcp(undefined, "127.0.0.1", port, 150).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SyscallError);
  expect((error as SyscallError).code).toBe("ETIMEDOUT");
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(150);
  first.destroy();
});

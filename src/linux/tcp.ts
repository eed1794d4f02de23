// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import ipaddr from "ipaddr.js";
import { sleep } from "../lib/deadline.ts";
import { ERRNO } from "./abi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  socketAddress4,
  socketAddress6,
} from "./abi/socket.ts";
import { connectedSocket } from "./connected-socket.ts";
import { Fd } from "./fd.ts";
import { withNetworkNamespaceAt } from "./namespace.ts";
import { isReady, POLLOUT } from "./poll.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/**
 * Connects to `address`, an IPv4 or IPv6 one, within `timeoutMs`, from the network namespace whose pin is
 * at `netnsPath`, undefined for the host's. The thread is there for one socket(2), since a socket stays its
 * namespace's. A SyscallError says why it failed, ETIMEDOUT when nobody answered.
 */
export async function connectTcp(
  netnsPath: string | undefined,
  address: string,
  port: number,
  timeoutMs: number,
): Promise<Socket> {
  const to = ipaddr.parse(address);
  using socket = withNetworkNamespaceAt(netnsPath, () => tcpSocket(to.kind() === "ipv4" ? 4 : 6));
  await connectSocket(socket, to, port, timeoutMs);
  return connectedSocket(socket, { allowHalfOpen: true });
}

/** A non-blocking TCP socket of the network namespace that the thread is in; it stays that namespace's. */
export function tcpSocket(version: 4 | 6): Fd {
  const family = version === 4 ? AF_INET : AF_INET6;
  return new Fd(syscall("socket", family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

async function connectSocket(
  socket: Fd,
  to: ReturnType<typeof ipaddr.parse>,
  port: number,
  timeoutMs: number,
): Promise<void> {
  const isIpv4 = to.kind() === "ipv4";
  const address = (isIpv4 ? socketAddress4 : socketAddress6)(to.toByteArray(), port);
  const subject = isIpv4 ? `${to}:${port}` : `[${to}]:${port}`;
  const begun = trySyscall("connect", socket.number, address, address.length);
  if (begun === 0) return;
  if (begun !== -ERRNO.EINPROGRESS) throw new SyscallError("connect", -begun, subject);
  const deadline = performance.now() + timeoutMs;
  for (
    let pauseMs = SHORTEST_PAUSE_MS;
    !isWritable(socket);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
  ) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) throw new SyscallError("connect", ERRNO.ETIMEDOUT, subject);
    await sleep(Math.min(pauseMs, leftMs));
  }
  const error = pendingError(socket);
  if (error !== 0) throw new SyscallError("connect", error, subject);
}

/** A socket is writable once its connection stands or has failed. */
function isWritable(socket: Fd): boolean {
  return isReady(socket.number, POLLOUT);
}

function pendingError(socket: Fd): number {
  const value = new Int32Array(1);
  const length = new Int32Array([value.byteLength]);
  syscall(
    "getsockopt",
    socket.number,
    SOL_SOCKET,
    SO_ERROR,
    new Uint8Array(value.buffer),
    new Uint8Array(length.buffer),
  );
  return value[0] ?? 0;
}

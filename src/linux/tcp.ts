// SPDX-License-Identifier: Apache-2.0
import { sleep } from "../lib/deadline.ts";
import { ERRNO } from "./abi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  loopbackAddress4,
  loopbackAddress6,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./abi/socket.ts";
import { Fd } from "./fd.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

export type IpVersion = 4 | 6;

const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

/** A non-blocking TCP socket of the network namespace that the thread is in; it stays that namespace's. */
export function tcpSocket(version: IpVersion): Fd {
  const family = version === 4 ? AF_INET : AF_INET6;
  return new Fd(syscall("socket", family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

/**
 * connect(2) of a socket made by `tcpSocket` to 127.0.0.1 or ::1 of its namespace. A SyscallError says why
 * it was refused, ETIMEDOUT when nobody answered within `timeoutMs`.
 */
export async function connectLoopback(
  socket: Fd,
  version: IpVersion,
  port: number,
  timeoutMs: number,
): Promise<void> {
  const address = version === 4 ? loopbackAddress4(port) : loopbackAddress6(port);
  const subject = version === 4 ? `127.0.0.1:${port}` : `[::1]:${port}`;
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

/** poll(2) without waiting: a socket is writable once its connection stands or has failed. */
function isWritable(socket: Fd): boolean {
  const POLLOUT = 4;
  const entry = new DataView(new ArrayBuffer(8));
  entry.setInt32(0, socket.number, true);
  entry.setInt16(4, POLLOUT, true);
  return syscall("poll", new Uint8Array(entry.buffer), 1, 0) > 0;
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

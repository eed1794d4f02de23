// SPDX-License-Identifier: Apache-2.0
import {
  AF_UNIX,
  abstractAddress,
  CMSGHDR_BYTES,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSGHDR_BYTES,
  rightsMessage,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  unixAddress,
} from "./abi/socket.ts";
import { Fd } from "./fd.ts";
import { addressOf, keepAlive } from "./libc.ts";
import { syscall } from "./syscall.ts";

/** A datagram socket of the unix domain, close-on-exec. */
export function unixDatagramSocket(): Fd {
  return new Fd(syscall("socket", AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

/** A connected pair of datagram sockets, close-on-exec. */
export function unixDatagramPair(): [Fd, Fd] {
  return socketPair(SOCK_DGRAM);
}

/** A connected pair of stream sockets, close-on-exec; each message with descriptors is received by itself. */
export function unixStreamPair(): [Fd, Fd] {
  return socketPair(SOCK_STREAM);
}

function socketPair(type: number): [Fd, Fd] {
  const pair = new Int32Array(2);
  syscall("socketpair", AF_UNIX, type | SOCK_CLOEXEC, 0, new Uint8Array(pair.buffer));
  return [new Fd(pair[0] as number), new Fd(pair[1] as number)];
}

/** Lets twice `bytes` wait in the peer's queue, whatever net.core.wmem_max is (CAP_NET_ADMIN). */
export function setSendBuffer(fd: number, bytes: number): void {
  const value = new Uint8Array(new Int32Array([bytes]).buffer);
  syscall("setsockopt", fd, SOL_SOCKET, SO_SNDBUFFORCE, value, value.length);
}

/** bind(2) to a path of at most 107 bytes. */
export function bindUnix(fd: number, path: string): void {
  const address = unixAddress(path);
  // The name takes over the mode of the socket, less the umask: it is private from its first instant.
  syscall("fchmod", fd, 0o600);
  syscall("bind", fd, address, address.length);
}

/** Sends one datagram to the socket at `path`, or at the abstract name `@name`, without waiting. */
export function sendDatagram(path: string, payload: Uint8Array): void {
  using socket = unixDatagramSocket();
  const name = path.startsWith("@") ? abstractAddress(path) : unixAddress(path);
  const iov = pointerAndLength(payload);
  syscall("sendmsg", socket.number, messageHeader(name, iov, new Uint8Array(0)), MSG_DONTWAIT | MSG_NOSIGNAL);
  keepAlive(payload, name, iov);
}

/** A stream socket that listens at a path of at most 107 bytes; neither it nor `acceptUnix` waits. */
export function listenUnix(path: string): Fd {
  const socket = new Fd(syscall("socket", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  try {
    bindUnix(socket.number, path);
    syscall("listen", socket.number, 1);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** The next connection to a listening socket; EAGAIN when there is none. */
export function acceptUnix(fd: number): Fd {
  return new Fd(syscall("accept4", fd, 0, 0, SOCK_CLOEXEC));
}

/** sendmsg(2) of `payload` and `fds` to the socket bound at `path`; EAGAIN when its queue is full. */
export function sendWithFds(fd: number, path: string, payload: Uint8Array, fds: readonly number[]): void {
  const name = unixAddress(path);
  const control = rightsMessage(fds);
  const iov = pointerAndLength(payload);
  const header = messageHeader(name, iov, control);
  syscall("sendmsg", fd, header, MSG_DONTWAIT | MSG_NOSIGNAL);
  keepAlive(payload, name, iov, control);
}

/** sendmsg(2) of one byte and `passed` to the peer of a connected socket, without waiting; EAGAIN when it is full. */
export function sendFd(fd: number, passed: number): void {
  const [payload, control] = [new Uint8Array(1), rightsMessage([passed])];
  const iov = pointerAndLength(payload);
  const header = messageHeader(new Uint8Array(0), iov, control);
  syscall("sendmsg", fd, header, MSG_DONTWAIT | MSG_NOSIGNAL);
  keepAlive(payload, iov, control);
}

/** recvmsg(2) without waiting: the descriptors that came with the next message. EAGAIN when none is there. */
export function receiveFds(fd: number, limit: number): Fd[] {
  const payload = new Uint8Array(64);
  const control = new Uint8Array(CMSGHDR_BYTES + ((limit * 4 + 7) & ~7));
  const iov = pointerAndLength(payload);
  const header = messageHeader(new Uint8Array(0), iov, control);
  syscall("recvmsg", fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  keepAlive(payload, iov, control);
  const received = Number(new DataView(header.buffer).getBigUint64(40, true));
  const count =
    received < CMSGHDR_BYTES
      ? 0
      : (Number(new DataView(control.buffer).getBigUint64(0, true)) - CMSGHDR_BYTES) / 4;
  const numbers = new DataView(control.buffer);
  return Array.from(
    { length: count },
    (_, index) => new Fd(numbers.getInt32(CMSGHDR_BYTES + index * 4, true)),
  );
}

/** struct iovec; the caller keeps `bytes` alive as long as it is used. */
function pointerAndLength(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(addressOf(bytes)), BigInt(bytes.length)]).buffer);
}

/** struct msghdr of recvmsg(2); the buffers stay alive in the caller's frame until the call returned. */
function messageHeader(name: Uint8Array, iov: Uint8Array, control: Uint8Array): Uint8Array {
  const header = new Uint8Array(MSGHDR_BYTES);
  const view = new DataView(header.buffer);
  view.setBigUint64(0, BigInt(addressOf(name)), true);
  view.setUint32(8, name.length, true);
  view.setBigUint64(16, BigInt(addressOf(iov)), true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, BigInt(addressOf(control)), true);
  view.setBigUint64(40, BigInt(control.length), true);
  return header;
}

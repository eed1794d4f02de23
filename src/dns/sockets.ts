// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import {
  AF_INET,
  AF_INET6,
  IP_FREEBIND,
  IPV6_FREEBIND,
  IPV6_V6ONLY,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  socketAddress4,
  socketAddress6,
} from "../linux/abi/socket.ts";
import { Fd } from "../linux/fd.ts";
import { watchInput } from "../linux/input-signal.ts";
import { acceptConnections } from "../linux/listening-socket.ts";
import { syscall, trySyscall } from "../linux/syscall.ts";

/*
 * Sockets on addresses that the machine may not have yet: the bridge comes with the first pod and goes with the last,
 * and neither Bun nor Node can ask for IP_FREEBIND (ip(7)).
 */

/** The largest query that is looked at; one byte more tells of a larger one, which is dropped. */
export const MAX_QUERY_BYTES = 4096;
const BACKLOG = 64;
/** Datagrams taken at once, before others have their turn. */
const BATCH = 64;

/** A datagram with who sent it. */
export interface Datagram {
  readonly message: Uint8Array;
  readonly from: string;
  /** Sends an answer; one that the kernel has no room for is lost, as datagrams may be. */
  readonly answer: (message: Uint8Array) => void;
}

/** Calls `onDatagram` for what comes to a UDP port of this address. A SyscallError says why that cannot be. */
export function receiveDatagrams(
  address: string,
  port: number,
  onDatagram: (datagram: Datagram) => void,
): Disposable {
  const socket = boundSocket(address, port, SOCK_DGRAM);
  const buffer = new Uint8Array(MAX_QUERY_BYTES + 1);
  const sender = new Uint8Array(28);
  const length = new Int32Array(1);
  const take = () => {
    for (let count = 0; socket.isOpen; count++) {
      if (count === BATCH) return void setImmediate(take);
      length[0] = sender.length;
      const lengthBytes = new Uint8Array(length.buffer);
      const received = trySyscall(
        "recvfrom",
        socket.number,
        buffer,
        buffer.length,
        MSG_DONTWAIT,
        sender,
        lengthBytes,
      );
      if (received < 0) return;
      if (received > MAX_QUERY_BYTES) continue;
      const to = sender.slice(0, length[0]);
      onDatagram({
        message: buffer.slice(0, received),
        from: addressIn(to),
        answer(message) {
          if (!socket.isOpen) return;
          const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
          trySyscall("sendto", socket.number, message, message.length, flags, to, to.length);
        },
      });
    }
  };
  const watch = watchInput(socket, take);
  return {
    [Symbol.dispose]() {
      watch[Symbol.dispose]();
      socket.close();
    },
  };
}

/** Calls `onConnection` with each connection to a TCP port of this address, as acceptConnections does. */
export function listenOn(
  address: string,
  port: number,
  onConnection: (connection: Fd, from: string) => void,
): Disposable {
  const socket = boundSocket(address, port, SOCK_STREAM);
  try {
    syscall("listen", socket.number, BACKLOG);
  } catch (error) {
    socket.close();
    throw error;
  }
  return acceptConnections(socket, (connection) => onConnection(connection, peerOf(connection)));
}

function boundSocket(address: string, port: number, type: number): Fd {
  const parsed = ipaddr.parse(address);
  const isIpv4 = parsed.kind() === "ipv4";
  const family = isIpv4 ? AF_INET : AF_INET6;
  const socket = new Fd(syscall("socket", family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    if (isIpv4) setOption(socket, SOL_IP, IP_FREEBIND);
    else {
      setOption(socket, SOL_IPV6, IPV6_V6ONLY);
      setOption(socket, SOL_IPV6, IPV6_FREEBIND);
    }
    // Connections of a daemon before this one may still be in TIME_WAIT.
    if (type === SOCK_STREAM) setOption(socket, SOL_SOCKET, SO_REUSEADDR);
    const name = (isIpv4 ? socketAddress4 : socketAddress6)(parsed.toByteArray(), port);
    syscall("bind", socket.number, name, name.length);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

function setOption({ number }: Fd, level: number, option: number): void {
  const on = new Uint8Array(Int32Array.of(1).buffer);
  syscall("setsockopt", number, level, option, on, on.length);
}

function peerOf({ number }: Fd): string {
  const peer = new Uint8Array(28);
  const length = Int32Array.of(peer.length);
  const result = trySyscall("getpeername", number, peer, new Uint8Array(length.buffer));
  return result < 0 ? "" : addressIn(peer);
}

/** The address in a struct sockaddr_in or sockaddr_in6, without the port. */
function addressIn(name: Uint8Array): string {
  const family = new DataView(name.buffer, name.byteOffset).getUint16(0, true);
  const bytes = family === AF_INET ? name.subarray(4, 8) : name.subarray(8, 24);
  return ipaddr.fromByteArray([...bytes]).toString();
}

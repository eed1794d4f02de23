// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { sleep } from "../lib/deadline.ts";
import { ERRNO } from "./abi/errno.ts";
import {
  AF_INET,
  AF_INET6,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  socketAddress4,
  socketAddress6,
} from "./abi/socket.ts";
import { Fd } from "./fd.ts";
import { withNetworkNamespaceAt } from "./namespace.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

const PAUSE_MS = 20;
const MAX_ANSWER_BYTES = 4096;

/**
 * Sends a datagram to `address`, an IPv4 or IPv6 one, from the network namespace whose pin is at `netnsPath`, undefined
 * for the host's, and answers the first that comes back from there within `timeoutMs`. A SyscallError says why there is
 * none: ETIMEDOUT, or ECONNREFUSED where the other side says that nobody takes it.
 */
export async function exchangeDatagram(
  netnsPath: string | undefined,
  { address, port }: { readonly address: string; readonly port: number },
  message: Uint8Array,
  timeoutMs: number,
): Promise<Uint8Array> {
  const to = ipaddr.parse(address);
  const isIpv4 = to.kind() === "ipv4";
  const kind = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  using socket = withNetworkNamespaceAt(
    netnsPath,
    () => new Fd(syscall("socket", isIpv4 ? AF_INET : AF_INET6, kind, 0)),
  );
  const name = (isIpv4 ? socketAddress4 : socketAddress6)(to.toByteArray(), port);
  syscall("connect", socket.number, name, name.length);
  syscall("sendto", socket.number, message, message.length, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0);
  const buffer = new Uint8Array(MAX_ANSWER_BYTES);
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const received = trySyscall("recvfrom", socket.number, buffer, buffer.length, MSG_DONTWAIT, null, null);
    if (received >= 0) return buffer.slice(0, received);
    const subject = `${address} port ${port}`;
    if (received !== -ERRNO.EAGAIN) throw new SyscallError("recvfrom", -received, subject);
    if (performance.now() >= endMs) throw new SyscallError("recvfrom", ERRNO.ETIMEDOUT, subject);
    await sleep(PAUSE_MS);
  }
}

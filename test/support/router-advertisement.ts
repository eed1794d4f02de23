// SPDX-License-Identifier: Apache-2.0
import { ByteWriter } from "../../src/lib/bytes.ts";
import { AF_INET6 } from "../../src/linux/abi/rtnetlink.ts";
import { SOCK_CLOEXEC } from "../../src/linux/abi/socket.ts";
import { Fd } from "../../src/linux/fd.ts";
import { withNetworkNamespace } from "../../src/linux/namespace.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { addressBytes } from "../../src/network/subnet.ts";

const SOCK_RAW = 3;
const IPPROTO_ICMPV6 = 58;
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_HOPS = 18;
const ALL_NODES = addressBytes("ff02::1");
const LIFETIME_SECONDS = 1800;

/**
 * Says to all on the link of an interface that its link-local address is a router's (RFC 4861, section 4.2), from the
 * network namespace of `netnsFd`.
 *
 * @param index the interface's number there
 */
export function advertiseRouter(netnsFd: number, index: number): void {
  using socket = withNetworkNamespace(
    netnsFd,
    () => new Fd(syscall("socket", AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6)),
  );
  const hops = new Uint8Array(Uint32Array.of(255).buffer);
  syscall("setsockopt", socket.number, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, hops.length);
  // Type 134; the kernel fills in the checksum.
  const message = new ByteWriter()
    .u8(134)
    .u8(0)
    .u16(0)
    .u8(64)
    .u8(0)
    .u16be(LIFETIME_SECONDS)
    .zeros(8)
    .finish();
  const to = new ByteWriter().u16(AF_INET6).u16(0).u32(0).bytes(ALL_NODES).u32(index).finish();
  syscall("sendto", socket.number, message, message.length, 0, to, to.length);
}

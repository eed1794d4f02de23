// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ByteReader, ByteWriter } from "../../src/lib/bytes.ts";
import { AF_INET, AF_INET6 } from "../../src/linux/abi/rtnetlink.ts";
import { MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM } from "../../src/linux/abi/socket.ts";
import { Fd } from "../../src/linux/fd.ts";
import { withNetworkNamespace } from "../../src/linux/namespace.ts";
import { syscall, trySyscall } from "../../src/linux/syscall.ts";
import { addressBytes } from "../../src/network/subnet.ts";
import { bothSubnets, openTestNetwork, TestPod, testConfig } from "./network-harness.ts";

const SOCK_RAW = 3;
const IPPROTO_UDP = 17;
const IPPROTO_SCTP = 132;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

/** struct sockaddr_in or, for an address of 16 bytes, sockaddr_in6. */
function socketAddress(address: Uint8Array, port: number): Uint8Array {
  if (address.length === 4) {
    return new ByteWriter().u16(AF_INET).u16be(port).bytes(address).zeros(8).finish();
  }
  return new ByteWriter().u16(AF_INET6).u16be(port).u32(0).bytes(address).u32(0).finish();
}

function datagramSocket(type: number, protocol: number, port = 0, length: 4 | 16 = 4): Fd {
  const family = length === 4 ? AF_INET : AF_INET6;
  const socket = new Fd(syscall("socket", family, type | SOCK_CLOEXEC, protocol));
  const any = socketAddress(new Uint8Array(length), port);
  if (port !== 0) syscall("bind", socket.number, any, any.length);
  return socket;
}

function send(socket: Fd, payload: Uint8Array, to: Uint8Array): void {
  syscall("sendto", socket.number, payload, payload.length, 0, to, to.length);
}

/** The next datagram and its sender, or undefined when none comes within a second. */
async function receive(socket: Fd): Promise<{ payload: Uint8Array; sender: Uint8Array } | undefined> {
  const buffer = new Uint8Array(2048);
  const room = new Uint8Array(28);
  for (let tries = 0; tries < 200; tries++) {
    const length = new ByteWriter().u32(room.length).finish();
    const count = trySyscall("recvfrom", socket.number, buffer, 2048, MSG_DONTWAIT, room, length);
    if (count >= 0) {
      return { payload: buffer.slice(0, count), sender: room.slice(0, new ByteReader(length).u32()) };
    }
    await Bun.sleep(5);
  }
  return undefined;
}

/** The checksum of RFC 9260, appendix A: CRC32c, reflected. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** An SCTP packet with an INIT chunk, the only one that starts an association. */
function sctpInit(sourcePort: number, port: number): Uint8Array {
  const writer = new ByteWriter().u16be(sourcePort).u16be(port).u32(0).u32(0);
  writer.u8(1).u8(0).u16be(20).u32be(0x1234_5678).u32be(65_536).u16be(1).u16be(1).u32be(1);
  writer.patchU32(8, crc32c(writer.finish()));
  return writer.finish();
}

test.each([4, 16] as const)(
  "a host port of UDP leads to the pod and back, a new pod's at once (addresses of %i bytes)",
  async (bytes) => {
    await using net = openTestNetwork(testConfig(bothSubnets()));
    const hostPort = 36_000 + (process.pid % 1000);
    const gateway = net.network.gatewayAddresses()[1]!;
    const target = bytes === 4 ? LOOPBACK : addressBytes(gateway);
    // The client keeps its port, so the kernel takes what it sends to the second pod for more of the same.
    using client = datagramSocket(SOCK_DGRAM, IPPROTO_UDP, 0, bytes);
    // With another pod there the bridge stays, and the kernel does not forget connections for its sake.
    await using other = await TestPod.start();
    await net.network.attach({ sandboxId: other.id, netnsFd: other.namespace.number, hostPorts: [] });
    for (const name of ["first", "second"]) {
      await using pod = await TestPod.start();
      const hostPorts = [{ protocol: "udp", containerPort: 53, hostPort } as const];
      await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts });
      {
        using server = withNetworkNamespace(pod.namespace.number, () =>
          datagramSocket(SOCK_DGRAM, IPPROTO_UDP, 53, bytes),
        );
        send(client, new TextEncoder().encode("who?"), socketAddress(target, hostPort));
        const question = await receive(server);
        expect(new TextDecoder().decode(question?.payload)).toBe("who?");
        send(server, new TextEncoder().encode(name), question?.sender as Uint8Array);
        expect(new TextDecoder().decode((await receive(client))?.payload)).toBe(name);
      }
      await pod.end();
      await net.network.detach(pod.id);
    }
    await other.end();
  },
);

test("a host port of SCTP leads to the pod's port", async () => {
  await using net = openTestNetwork();
  await using pod = await TestPod.start();
  const hostPort = 37_000 + (process.pid % 1000);
  const hostPorts = [{ protocol: "sctp", containerPort: 3868, hostPort } as const];
  await net.network.attach({ sandboxId: pod.id, netnsFd: pod.namespace.number, hostPorts });
  using server = withNetworkNamespace(pod.namespace.number, () => datagramSocket(SOCK_RAW, IPPROTO_SCTP));
  using client = datagramSocket(SOCK_RAW, IPPROTO_SCTP);
  send(client, sctpInit(40_000, hostPort), socketAddress(LOOPBACK, 0));
  const packet = (await receive(server))?.payload as Uint8Array;
  // A raw socket gets the packet from its IP header on; that one's length is in its first byte.
  const header = new ByteReader(packet).u8() & 0xf;
  const ports = new DataView(packet.buffer, header * 4);
  expect(ports.getUint16(2)).toBe(3868);
  await pod.end();
});

// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { InvalidArgumentError, ResourceExhaustedError } from "../errors.ts";
import type { HostPort } from "./attachment.ts";

const SUBNET_KEY = "network.subnet";
const SMALLEST_PREFIX = 8;
const LARGEST_PREFIX = 30;
const UNUSABLE_RANGES = ["multicast", "loopback", "broadcast", "unspecified", "linkLocal"];

/** What a sandbox holds of the network, by sandbox id in the table `leases`. */
export interface LeaseRecord {
  readonly sandboxId: string;
  /** The primary first, without prefix length. */
  readonly addresses: readonly string[];
  readonly hostPorts: readonly HostPort[];
  readonly hostInterface: string;
  /** True once the sandbox gives it back: the ports are free, the addresses as soon as the link is gone. */
  readonly isReleasing: boolean;
}

/** An IPv4 network of which the first address is the bridge's and the others are the pods'. */
export interface Subnet {
  /** As in the configuration: `10.85.0.0/16`. */
  readonly text: string;
  readonly prefixLength: number;
  /** Addresses as numbers, most significant byte first. */
  readonly network: number;
  readonly broadcast: number;
  readonly gateway: string;
}

/** Reads `network.subnet`; an InvalidArgumentError names that key and says what would do. */
export function parseSubnet(text: string): Subnet {
  if (!ipaddr.IPv4.isValidCIDR(text)) {
    throw new InvalidArgumentError(SUBNET_KEY, `${text} is no IPv4 subnet as in 10.85.0.0/16`);
  }
  const [address, prefixLength] = ipaddr.IPv4.parseCIDR(text);
  if (prefixLength < SMALLEST_PREFIX || prefixLength > LARGEST_PREFIX) {
    const wanted = `take a prefix from /${SMALLEST_PREFIX} to /${LARGEST_PREFIX}`;
    throw new InvalidArgumentError(SUBNET_KEY, `${text} is too large or too small; ${wanted}`);
  }
  if (UNUSABLE_RANGES.includes(address.range())) {
    throw new InvalidArgumentError(
      SUBNET_KEY,
      `${text} is in the ${address.range()} range; take a private one`,
    );
  }
  const network = numberOf(ipaddr.IPv4.networkAddressFromCIDR(text).toString());
  if (network !== numberOf(address.toString())) {
    throw new InvalidArgumentError(
      SUBNET_KEY,
      `${text} is an address; its subnet is ${textOf(network)}/${prefixLength}`,
    );
  }
  const broadcast = numberOf(ipaddr.IPv4.broadcastAddressFromCIDR(text).toString());
  return { text, prefixLength, network, broadcast, gateway: textOf(network + 1) };
}

/**
 * The address to hand out next: the first free one after `last`, going round, so that an address which
 * was given back rests as long as possible. ResourceExhaustedError when all are taken.
 */
export function nextAddress(subnet: Subnet, taken: ReadonlySet<string>, last: string | undefined): string {
  const first = subnet.network + 2;
  const count = subnet.broadcast - first;
  const start = last === undefined || !contains(subnet, last) ? 0 : numberOf(last) + 1 - first;
  for (let step = 0; step < count; step++) {
    const address = textOf(first + ((start + step + count) % count));
    if (!taken.has(address)) return address;
  }
  throw new ResourceExhaustedError(
    `no free address in ${subnet.text}: all ${count} are leased; remove pods or set a larger ${SUBNET_KEY}`,
  );
}

/** True when `address` is one of the subnet's, whether it can be leased or not. */
export function contains(subnet: Subnet, address: string): boolean {
  const number = numberOf(address);
  return number >= subnet.network && number <= subnet.broadcast;
}

/** True when the two networks have an address in common. */
export function overlaps(subnet: Subnet, network: Uint8Array, prefixLength: number): boolean {
  const shared = Math.min(subnet.prefixLength, prefixLength);
  const width = 2 ** (32 - shared);
  return Math.floor(subnet.network / width) === Math.floor(numberOfBytes(network) / width);
}

/** An address as bytes in network order. */
export function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

/**
 * The hardware address of an interface, made from its address: locally administered, the same whenever
 * that address is in use, so what neighbours remember of it is never wrong and nothing has to be
 * announced when it goes to another pod.
 */
export function macOf(address: string): string {
  const parts = [0x02, 0x70, ...addressBytes(address).subarray(-4)];
  return parts.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** The bytes of an address given as a number. */
export function bytesOf(address: number): Uint8Array {
  return Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address);
}

function numberOf(address: string): number {
  return numberOfBytes(addressBytes(address));
}

function numberOfBytes(bytes: Uint8Array): number {
  return bytes.reduce((number, byte) => number * 256 + byte, 0);
}

function textOf(address: number): string {
  return bytesOf(address).join(".");
}

// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { InvalidArgumentError } from "../errors.ts";

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

export const SUBNET_KEY = "network.subnet";

interface FamilyRules {
  readonly bits: number;
  readonly smallestPrefix: number;
  readonly largestPrefix: number;
  readonly example: string;
  /** Ranges, by ipaddr.js's names, of which pods cannot have addresses. */
  readonly unusable: readonly string[];
}

const RULES: Readonly<Record<Family, FamilyRules>> = {
  4: {
    bits: 32,
    smallestPrefix: 8,
    largestPrefix: 30,
    example: "10.85.0.0/16",
    unusable: ["multicast", "loopback", "broadcast", "unspecified", "linkLocal"],
  },
  6: {
    bits: 128,
    smallestPrefix: 16,
    largestPrefix: 126,
    example: "fd00:85::/64",
    unusable: [
      "multicast",
      "loopback",
      "unspecified",
      "linkLocal",
      // Of these the kernel or a translator on the way makes something else.
      "ipv4Mapped",
      "rfc6145",
      "rfc6052",
      "teredo",
      "discard",
    ],
  },
};

/** A network of which the first address is the bridge's and the others are the pods'. */
export interface Subnet {
  /** As in the configuration: `10.85.0.0/16`. */
  readonly text: string;
  readonly family: Family;
  readonly prefixLength: number;
  /** Addresses as numbers, most significant byte first. */
  readonly network: bigint;
  /** The highest address, which in IPv4 is the broadcast one. */
  readonly last: bigint;
  readonly gateway: string;
}

/**
 * Reads the subnets of `network.subnet`: one, or one of each family, the primary first. An
 * InvalidArgumentError names that key and says what would do.
 */
export function parseSubnets(texts: readonly string[]): Subnet[] {
  const subnets = texts.map(parseSubnet);
  const twin = subnets.find(({ family }, index) =>
    subnets.some((other, place) => place < index && other.family === family),
  );
  if (twin !== undefined) {
    throw new InvalidArgumentError(
      SUBNET_KEY,
      `${twin.text} is the second of IPv${twin.family}; give one subnet of each family at most`,
    );
  }
  return subnets;
}

/** Reads one subnet, of either family. */
export function parseSubnet(text: string): Subnet {
  if (!ipaddr.isValidCIDR(text) || text.includes("%")) {
    const examples = FAMILIES.map((family) => RULES[family].example).join(" or ");
    throw new InvalidArgumentError(SUBNET_KEY, `${text} is no subnet as in ${examples}`);
  }
  const [address, prefixLength] = ipaddr.parseCIDR(text);
  const family = address.kind() === "ipv4" ? 4 : 6;
  const { bits, smallestPrefix, largestPrefix, unusable } = RULES[family];
  if (unusable.includes(address.range())) {
    throw new InvalidArgumentError(
      SUBNET_KEY,
      `${text} is in the ${address.range()} range; take a private one`,
    );
  }
  if (prefixLength < smallestPrefix || prefixLength > largestPrefix) {
    const wanted = `take a prefix from /${smallestPrefix} to /${largestPrefix}`;
    throw new InvalidArgumentError(SUBNET_KEY, `${text} is too large or too small; ${wanted}`);
  }
  const hostBits = BigInt(bits - prefixLength);
  const number = numberOf(address.toByteArray());
  const network = (number >> hostBits) << hostBits;
  if (network !== number) {
    throw new InvalidArgumentError(
      SUBNET_KEY,
      `${text} is an address; its subnet is ${textOf(network, family)}/${prefixLength}`,
    );
  }
  const last = network + (1n << hostBits) - 1n;
  return { text, family, prefixLength, network, last, gateway: textOf(network + 1n, family) };
}

/** True when `address` is one of the subnet's, whether it can be leased or not. */
export function contains(subnet: Subnet, address: string): boolean {
  const number = numberOf(addressBytes(address));
  return familyOf(address) === subnet.family && number >= subnet.network && number <= subnet.last;
}

/** True when the two networks, of the same family, have an address in common. */
export function overlaps(subnet: Subnet, network: Uint8Array, prefixLength: number): boolean {
  const shift = BigInt(RULES[subnet.family].bits - Math.min(subnet.prefixLength, prefixLength));
  return subnet.network >> shift === numberOf(network) >> shift;
}

/** The family of an address that is known to be one. */
export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

/** An address as bytes in network order, 4 or 16. */
export function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

/** The bytes of an address given as a number. */
export function bytesOf(address: bigint, family: Family): Uint8Array {
  const length = RULES[family].bits / 8;
  return Uint8Array.from({ length }, (_, index) =>
    Number((address >> BigInt(8 * (length - 1 - index))) & 0xffn),
  );
}

/** The number of an address given as bytes. */
export function numberOf(bytes: ArrayLike<number>): bigint {
  return Array.from(bytes).reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

/** An address as people write it, IPv6 in the form of RFC 5952. */
export function textOf(address: bigint, family: Family): string {
  return ipaddr.fromByteArray([...bytesOf(address, family)]).toString();
}

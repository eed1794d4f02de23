// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import type { HostPort } from "./attachment.ts";
import { addressBytes, contains, numberOf, SUBNET_KEY, type Subnet, textOf } from "./subnet.ts";

/** What a sandbox holds of the network, by sandbox id in the table `leases`. */
export interface LeaseRecord {
  readonly sandboxId: string;
  /** One of each family at most, the primary first, without prefix length. */
  readonly addresses: readonly string[];
  readonly hostPorts: readonly HostPort[];
  readonly hostInterface: string;
  /** True once the sandbox gives it back: the ports are free, the addresses as soon as the link is gone. */
  readonly isReleasing: boolean;
}

/**
 * The address to hand out next: the first free one after `last`, going round, so that an address which
 * was given back rests as long as possible. ResourceExhaustedError when all are taken.
 */
export function nextAddress(subnet: Subnet, taken: ReadonlySet<string>, last: string | undefined): string {
  const first = subnet.network + 2n;
  // The highest one is for broadcasts, which IPv6 does not have.
  const count = subnet.last - first + (subnet.family === 4 ? 0n : 1n);
  const start =
    last === undefined || !contains(subnet, last) ? 0n : numberOf(addressBytes(last)) + 1n - first;
  for (let step = 0n; step < count; step++) {
    const address = textOf(first + ((start + step + count) % count), subnet.family);
    if (!taken.has(address)) return address;
  }
  throw new ResourceExhaustedError(
    `no free address in ${subnet.text}: all ${count} are leased; remove pods or set a larger ${SUBNET_KEY}`,
  );
}

/**
 * The hardware address of an interface, made from its primary address: locally administered, the same
 * whenever that address is in use, so what neighbours remember of it is never wrong and nothing has to be
 * announced when it goes to another pod. Addresses of IPv6 networks that end alike have different ones.
 */
export function macOf(address: string): string {
  const bytes = addressBytes(address);
  const folded = [0, 1, 2, 3].map((place) =>
    bytes.reduce((sum, byte, index) => (index % 4 === place ? sum ^ byte : sum), 0),
  );
  return [0x02, 0x70, ...folded].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

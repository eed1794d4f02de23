// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import type { Table } from "../state/table.ts";
import type { PodAddress } from "./bridge-link.ts";
import { type LeaseRecord, nextAddress } from "./ipam.ts";
import { ipv6Problem, isDisabledInPod } from "./ipv6.ts";
import { type Family, familyOf, type Subnet } from "./subnet.ts";

/** Settings that hold each family's address leased last, from which the search for the next goes on. */
const LAST_ADDRESS: Readonly<Record<Family, string>> = {
  4: "network.last_address",
  6: "network.last_address6",
};

/**
 * The subnets that a pod gets addresses from: all, but of IPv6 none for one that has turned that off for itself; a
 * FailedPreconditionError where nothing is left.
 */
export function subnetsForPod(
  subnets: readonly Subnet[],
  sandboxId: string,
  netnsFd: number,
): readonly Subnet[] {
  const others = subnets.filter(({ family }) => family === 4);
  // A machine without IPv6 is not the pod's doing, and refused where its bridge is made.
  if (others.length === subnets.length || ipv6Problem() !== undefined) return subnets;
  if (!isDisabledInPod(netnsFd)) return subnets;
  if (others.length > 0) return others;
  throw new FailedPreconditionError(
    `sandbox ${sandboxId} has IPv6 disabled by its kernel parameters, and network.subnet has no other addresses; leave disable_ipv6 alone or add a subnet of IPv4`,
  );
}

/** An address from each of the subnets that no lease has. */
export function chooseAddresses(
  subnets: readonly Subnet[],
  leases: readonly LeaseRecord[],
  settings: Table<unknown>,
): PodAddress[] {
  const taken = new Set(leases.flatMap(({ addresses }) => addresses));
  return subnets.map((subnet) => {
    const last = settings.get(LAST_ADDRESS[subnet.family]);
    const address = nextAddress(subnet, taken, typeof last === "string" ? last : undefined);
    return { subnet, address };
  });
}

/** Lets the search go on after addresses that have been leased. */
export function noteAddresses(settings: Table<unknown>, addresses: readonly string[]): void {
  for (const address of addresses) settings.put(LAST_ADDRESS[familyOf(address)], address);
}

// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import type { Config } from "../config.ts";
import type { Table } from "../state/table.ts";
import { ipv6Problem } from "./ipv6.ts";
import { type Family, familyOf, parseSubnets, type Subnet } from "./subnet.ts";

/** Settings that hold the subnets which the cluster gave out; before there was IPv6, the first one was all. */
const POD_CIDR: Readonly<Record<Family, string>> = { 4: "network.pod_cidr", 6: "network.pod_cidr6" };
/** Setting that says of which family the primary one is, where that is not IPv4. */
const PRIMARY = "network.pod_cidr_primary";

/** The subnets that pods get addresses from: the configuration's, or what the cluster gave out last. */
export function chosenSubnets(
  { subnets, followsPodCidr }: Config["network"],
  settings: Table<unknown>,
): Subnet[] {
  const families: Family[] = settings.get(PRIMARY) === 6 ? [6, 4] : [4, 6];
  const given = families
    .map((family) => settings.get(POD_CIDR[family]))
    .filter((cidr) => typeof cidr === "string");
  return parseSubnets(followsPodCidr && given.length > 0 ? given : subnets);
}

/** Keeps what the cluster gave out, for the next start. */
export function keepPodSubnets(settings: Table<unknown>, subnets: readonly Subnet[]): void {
  for (const family of [4, 6] as const) {
    const subnet = subnets.find((one) => one.family === family);
    if (subnet === undefined) settings.delete(POD_CIDR[family]);
    else settings.put(POD_CIDR[family], subnet.text);
  }
  settings.put(PRIMARY, subnets[0]?.family);
}

/**
 * The first subnet of each family among what a cluster gives out, in its order. On a machine without IPv6 the other
 * one is better than none; `onLeftOut` hears why.
 */
export function usableCidrs(cidrs: readonly string[], onLeftOut: (reason: string) => void): string[] {
  const wanted = firstOfEachFamily(cidrs);
  const problem = ipv6Problem();
  const others = wanted.filter((cidr) => familyOf(cidr) === 4);
  if (problem === undefined || others.length === 0 || others.length === wanted.length) return wanted;
  onLeftOut(problem);
  return others;
}

function firstOfEachFamily(cidrs: readonly string[]): string[] {
  const [first, ...others] = cidrs;
  if (first === undefined) return [];
  const isIpv4 = ipaddr.IPv4.isValidCIDR(first);
  const second = others.find((cidr) => ipaddr.IPv4.isValidCIDR(cidr) !== isIpv4);
  return second === undefined ? [first] : [first, second];
}

// SPDX-License-Identifier: Apache-2.0
import { NETLINK_NETFILTER } from "../linux/abi/netlink.ts";
import {
  NF_INET_LOCAL_OUT,
  NF_INET_POST_ROUTING,
  NF_INET_PRE_ROUTING,
  NF_IP_PRI_NAT_DST,
  NF_IP_PRI_NAT_SRC,
  NF_IP_PRI_RAW,
} from "../linux/abi/nf-tables.ts";
import type { NetlinkRequest } from "../linux/netlink/message.ts";
import {
  accept,
  addressIn,
  destinationIsLocal,
  destinationNat,
  drop,
  type Expression,
  interfaceIs,
  isDestinationNat,
  loadDestination,
  lookup,
  masquerade,
} from "../linux/netlink/nft-expression.ts";
import {
  addChain,
  addElements,
  addMap,
  addRule,
  addTable,
  type BaseChain,
  decodeTable,
  deleteElements,
  deleteTable,
  listTables,
  type NftTable,
  transaction,
} from "../linux/netlink/nftables.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";
import { isErrno } from "../linux/syscall.ts";
import { hostPortChanges, hostPortMaps } from "./host-port-map.ts";
import type { LeaseRecord } from "./ipam.ts";
import { bytesOf, FAMILIES, type Family, type Subnet } from "./subnet.ts";

/** What the tables are made from: one of this name for each subnet, of its family. */
export interface NatTables {
  readonly name: string;
  readonly bridge: string;
  readonly masquerade: boolean;
  readonly families: readonly { readonly subnet: Subnet; readonly comment: string }[];
}

const GUARD: BaseChain = {
  name: "guard",
  type: "filter",
  hook: NF_INET_PRE_ROUTING,
  priority: NF_IP_PRI_RAW,
};
const ARRIVING: BaseChain = {
  name: "prerouting",
  type: "nat",
  hook: NF_INET_PRE_ROUTING,
  priority: NF_IP_PRI_NAT_DST,
};
const OUTGOING: BaseChain = {
  name: "output",
  type: "nat",
  hook: NF_INET_LOCAL_OUT,
  priority: NF_IP_PRI_NAT_DST,
};
const LEAVING: BaseChain = {
  name: "postrouting",
  type: "nat",
  hook: NF_INET_POST_ROUTING,
  priority: NF_IP_PRI_NAT_SRC,
};

const LOOPBACK: Readonly<Record<Family, { network: Uint8Array; prefixLength: number }>> = {
  4: { network: Uint8Array.of(127, 0, 0, 0), prefixLength: 8 },
  6: { network: bytesOf(1n, 6), prefixLength: 128 },
};
/** How many changes with elements go into the transaction that makes a table: all of them, unless there are hundreds. */
const FIRST_CHANGES = 2;

/** Makes the tables, or makes them anew, with the host ports of all leases, at once: never half of it is seen. */
export async function writeTables(nat: NatTables, leases: readonly LeaseRecord[]): Promise<void> {
  const changes: NetlinkRequest[] = [];
  const later: NetlinkRequest[] = [];
  for (const { subnet, comment } of nat.families) {
    const table: NftTable = { family: subnet.family, name: nat.name };
    const maps = hostPortMaps(subnet.family);
    // Removing a table that does not exist fails the whole transaction, so it is made first.
    changes.push(addTable(table, comment), deleteTable(table), addTable(table, comment));
    changes.push(addMap(table, maps.atAddress), addMap(table, maps.everywhere));
    for (const [chain, rules] of chains(nat, subnet)) {
      changes.push(addChain(table, chain), ...rules.map((rule) => addRule(table, chain.name, rule)));
    }
    const elements = hostPortChanges(addElements, table, leases);
    changes.push(...elements.slice(0, FIRST_CHANGES));
    later.push(...elements.slice(FIRST_CHANGES));
  }
  await commit(nat.name, changes);
  for (const change of later) await commit(nat.name, [change]);
}

/** Removes the table of a family; one that does not exist is no error. */
export async function removeTable(table: NftTable): Promise<void> {
  try {
    await commit(table.name, [deleteTable(table)]);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** A table of the machine with its comment; podrt's say what the machine was like before. */
export type FoundTable = NftTable & { readonly comment: string };

/** The tables of the machine, of one family each. */
export async function findTables(): Promise<FoundTable[]> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  return (await socket.dump(listTables())).flatMap((message) => decodeTable(message) ?? []);
}

/** Opens the host ports of a lease in the tables of this name. */
export async function openHostPorts(name: string, lease: LeaseRecord): Promise<void> {
  await changeHostPorts(addElements, name, lease);
}

/** Closes the host ports of a lease; connections that were made go on as long as the pod does. */
export async function closeHostPorts(name: string, lease: LeaseRecord): Promise<void> {
  await changeHostPorts(deleteElements, name, lease);
}

async function changeHostPorts(change: typeof addElements, name: string, lease: LeaseRecord): Promise<void> {
  const changes = FAMILIES.flatMap((family) => hostPortChanges(change, { family, name }, [lease]));
  if (changes.length > 0) await commit(name, changes);
}

async function commit(name: string, changes: readonly NetlinkRequest[]): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  await socket.executeBatch(transaction(`nftables table ${name}`, changes));
}

function chains(
  { bridge, masquerade: isMasquerading }: NatTables,
  { family, network, prefixLength }: Subnet,
): [BaseChain, Expression[][]][] {
  const podNetwork = (field: "source" | "destination") =>
    addressIn(field, bytesOf(network, family), prefixLength);
  const loopback = (field: "source" | "destination") =>
    addressIn(field, LOOPBACK[family].network, LOOPBACK[family].prefixLength);
  const maps = hostPortMaps(family);
  const toHostPort = ([true, false] as const).map((atAddress) => [
    ...destinationIsLocal(),
    ...loadDestination(family, atAddress),
    lookup((atAddress ? maps.atAddress : maps.everywhere).name),
    destinationNat(family),
  ]);
  const fromPods = interfaceIs("in", bridge);
  const toPods = interfaceIs("out", bridge);
  // A pod that called a neighbour, or itself, by a host port must get the answer from where it called: by
  // way of the bridge.
  const fromNeighbour = [...toPods, ...podNetwork("source"), ...isDestinationNat(), masquerade()];
  const toOutside = [...podNetwork("source"), ...interfaceIs("out", bridge, true), masquerade()];
  const leaving = [fromNeighbour, ...(isMasquerading ? [toOutside] : [])];
  if (family === 6) {
    return [
      [ARRIVING, toHostPort],
      // The kernel has no route_localnet for IPv6: an answer to ::1 would never arrive. So who asks there is
      // refused, or answered by a program of the machine, at once, and may try 127.0.0.1.
      [OUTGOING, [[...loopback("destination"), accept()], ...toHostPort]],
      [LEAVING, leaving],
    ];
  }
  return [
    // The bridge routes loopback addresses for the sake of host ports at 127.0.0.1 (route_localnet);
    // pods must not reach the machine's own loopback services by that.
    [
      GUARD,
      [
        [...fromPods, ...loopback("destination"), drop()],
        [...fromPods, ...loopback("source"), drop()],
      ],
    ],
    [ARRIVING, toHostPort],
    [OUTGOING, toHostPort],
    // The pod cannot answer 127.0.0.1.
    [LEAVING, [[...toPods, ...loopback("source"), masquerade()], ...leaving]],
  ];
}

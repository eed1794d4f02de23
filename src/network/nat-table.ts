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
  INET_PROTOCOL,
  INET_SERVICE,
  IPV4_ADDRESS,
  listTables,
  type MapElement,
  type NftMap,
  transaction,
} from "../linux/netlink/nftables.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";
import { isErrno } from "../linux/syscall.ts";
import type { HostPort } from "./attachment.ts";
import { addressOf } from "./host-port.ts";
import { addressBytes, bytesOf, type LeaseRecord, type Subnet } from "./ipam.ts";

/** What the table is made from. */
export interface NatTable {
  readonly table: string;
  readonly bridge: string;
  readonly subnet: Subnet;
  readonly masquerade: boolean;
}

/** One host port and the pod's address behind it. */
interface Mapping extends HostPort {
  readonly address: string;
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

/** Host ports on one address of the machine, and on all of them; the first is asked first. */
const PORTS_AT_ADDRESS: NftMap = {
  name: "host_ports_at_address",
  id: 1,
  key: [IPV4_ADDRESS, INET_PROTOCOL, INET_SERVICE],
  value: [IPV4_ADDRESS, INET_SERVICE],
};
const PORTS: NftMap = {
  name: "host_ports",
  id: 2,
  key: [INET_PROTOCOL, INET_SERVICE],
  value: [IPV4_ADDRESS, INET_SERVICE],
};

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const LOOPBACK_NETWORK = Uint8Array.of(127, 0, 0, 0);
const LOOPBACK_PREFIX = 8;
/** Each element takes about 60 bytes, and one attribute holds 65,535. */
const ELEMENTS_PER_CHANGE = 512;

/** Makes the table, or makes it anew, with the host ports of all leases, at once: never half of it is seen. */
export async function writeTable(
  nat: NatTable,
  comment: string,
  leases: readonly LeaseRecord[],
): Promise<void> {
  const { table } = nat;
  // Removing a table that does not exist fails the whole transaction, so it is made first.
  const changes = [addTable(table, comment), deleteTable(table), addTable(table, comment)];
  changes.push(addMap(table, PORTS_AT_ADDRESS), addMap(table, PORTS));
  for (const [chain, rules] of chains(nat)) {
    changes.push(addChain(table, chain), ...rules.map((rule) => addRule(table, chain.name, rule)));
  }
  const mappings = leases.flatMap(mappingsOf);
  changes.push(...elementChanges(addElements, table, mappings.slice(0, ELEMENTS_PER_CHANGE)));
  await commit(table, changes);
  for (let start = ELEMENTS_PER_CHANGE; start < mappings.length; start += ELEMENTS_PER_CHANGE) {
    const chunk = mappings.slice(start, start + ELEMENTS_PER_CHANGE);
    await commit(table, elementChanges(addElements, table, chunk));
  }
}

/** Removes the table; one that does not exist is no error. */
export async function removeTable(table: string): Promise<void> {
  try {
    await commit(table, [deleteTable(table)]);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** The tables of the machine with the comments that podrt's bear. */
export async function findTables(): Promise<{ name: string; comment: string }[]> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  return (await socket.dump(listTables())).map(decodeTable);
}

/** Opens the host ports of a lease. */
export async function openHostPorts(table: string, lease: LeaseRecord): Promise<void> {
  await changeHostPorts(addElements, table, lease);
}

/** Closes the host ports of a lease; connections that were made go on as long as the pod does. */
export async function closeHostPorts(table: string, lease: LeaseRecord): Promise<void> {
  await changeHostPorts(deleteElements, table, lease);
}

async function changeHostPorts(change: typeof addElements, table: string, lease: LeaseRecord): Promise<void> {
  const mappings = mappingsOf(lease);
  const changes: NetlinkRequest[] = [];
  for (let start = 0; start < mappings.length; start += ELEMENTS_PER_CHANGE) {
    changes.push(...elementChanges(change, table, mappings.slice(start, start + ELEMENTS_PER_CHANGE)));
  }
  if (changes.length > 0) await commit(table, changes);
}

async function commit(table: string, changes: readonly NetlinkRequest[]): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  await socket.executeBatch(transaction(`nftables table ${table}`, changes));
}

function chains({ bridge, subnet, masquerade: isMasquerading }: NatTable): [BaseChain, Expression[][]][] {
  const podNetwork = (field: "source" | "destination") =>
    addressIn(field, bytesOf(subnet.network), subnet.prefixLength);
  const loopback = (field: "source" | "destination") => addressIn(field, LOOPBACK_NETWORK, LOOPBACK_PREFIX);
  const toHostPort = [
    [...destinationIsLocal(), ...loadDestination(true), lookup(PORTS_AT_ADDRESS.name), destinationNat()],
    [...destinationIsLocal(), ...loadDestination(false), lookup(PORTS.name), destinationNat()],
  ];
  const fromPods = interfaceIs("in", bridge);
  const toPods = interfaceIs("out", bridge);
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
    [
      LEAVING,
      [
        // The pod cannot answer 127.0.0.1, and a pod that called a neighbour, or itself, by a host port
        // must get the answer from where it called: by way of the bridge.
        [...toPods, ...loopback("source"), masquerade()],
        [...toPods, ...podNetwork("source"), ...isDestinationNat(), masquerade()],
        ...(isMasquerading
          ? [[...podNetwork("source"), ...interfaceIs("out", bridge, true), masquerade()]]
          : []),
      ],
    ],
  ];
}

function mappingsOf(lease: LeaseRecord): Mapping[] {
  const [address] = lease.addresses;
  return address === undefined ? [] : lease.hostPorts.map((port) => ({ ...port, address }));
}

function elementChanges(
  change: typeof addElements,
  table: string,
  mappings: readonly Mapping[],
): NetlinkRequest[] {
  const groups: [NftMap, readonly Mapping[]][] = [
    [PORTS_AT_ADDRESS, mappings.filter((mapping) => addressOf(mapping) !== undefined)],
    [PORTS, mappings.filter((mapping) => addressOf(mapping) === undefined)],
  ];
  return groups
    .filter(([, members]) => members.length > 0)
    .map(([map, members]) => change(table, map.name, members.map(elementOf)));
}

function elementOf(mapping: Mapping): MapElement {
  const at = addressOf(mapping);
  const port = [Uint8Array.of(PROTOCOL_NUMBERS[mapping.protocol]), portBytes(mapping.hostPort)];
  return {
    key: at === undefined ? port : [addressBytes(at), ...port],
    value: [addressBytes(mapping.address), portBytes(mapping.containerPort)],
  };
}

function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >>> 8, port);
}

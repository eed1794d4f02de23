// SPDX-License-Identifier: Apache-2.0
import type { NetlinkRequest } from "../linux/netlink/message.ts";
import {
  type addElements,
  INET_PROTOCOL,
  INET_SERVICE,
  IPV4_ADDRESS,
  IPV6_ADDRESS,
  type MapElement,
  type NftMap,
  type NftTable,
} from "../linux/netlink/nftables.ts";
import type { HostPort } from "./attachment.ts";
import { placeOf } from "./host-port.ts";
import type { LeaseRecord } from "./ipam.ts";
import { addressBytes, type Family, familyOf } from "./subnet.ts";

const ADDRESSES = { 4: IPV4_ADDRESS, 6: IPV6_ADDRESS } as const;
const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
/** Each element takes about 70 bytes, and what is sent at once has to stay below 128 KiB. */
const ELEMENTS_PER_CHANGE = 256;

/** One host port and the pod's address behind it. */
interface Mapping {
  readonly port: HostPort;
  readonly podAddress: string;
  /** The one address of the machine that it is for; undefined for all. */
  readonly at: string | undefined;
}

/** The maps of a family's table: host ports on one address of the machine, and on all of them. */
export function hostPortMaps(family: Family): { atAddress: NftMap; everywhere: NftMap } {
  const value = [ADDRESSES[family], INET_SERVICE];
  const port = [INET_PROTOCOL, INET_SERVICE];
  return {
    atAddress: { name: "host_ports_at_address", id: 1, key: [ADDRESSES[family], ...port], value },
    everywhere: { name: "host_ports", id: 2, key: port, value },
  };
}

/** The changes that add the host ports of leases to a table's maps, or remove them, each of a bounded size. */
export function hostPortChanges(
  change: typeof addElements,
  table: NftTable,
  leases: readonly LeaseRecord[],
): NetlinkRequest[] {
  const mappings = leases.flatMap((lease) => mappingsOf(lease, table.family));
  const { atAddress, everywhere } = hostPortMaps(table.family);
  const groups: [NftMap, readonly Mapping[]][] = [
    [atAddress, mappings.filter(({ at }) => at !== undefined)],
    [everywhere, mappings.filter(({ at }) => at === undefined)],
  ];
  return groups.flatMap(([map, members]) =>
    inChunks(members).map((chunk) => change(table, map.name, chunk.map(elementOf))),
  );
}

function mappingsOf({ addresses, hostPorts }: LeaseRecord, family: Family): Mapping[] {
  const podAddress = addresses.find((address) => familyOf(address) === family);
  if (podAddress === undefined) return [];
  return hostPorts.flatMap((port) => {
    const place = placeOf(port);
    const isElsewhere = place.family !== undefined && place.family !== family;
    return isElsewhere ? [] : [{ port, podAddress, at: place.address }];
  });
}

function inChunks(mappings: readonly Mapping[]): Mapping[][] {
  const count = Math.ceil(mappings.length / ELEMENTS_PER_CHANGE);
  return Array.from({ length: count }, (_, index) =>
    mappings.slice(index * ELEMENTS_PER_CHANGE, (index + 1) * ELEMENTS_PER_CHANGE),
  );
}

function elementOf({ port, podAddress, at }: Mapping): MapElement {
  const key = [Uint8Array.of(PROTOCOL_NUMBERS[port.protocol]), portBytes(port.hostPort)];
  return {
    key: at === undefined ? key : [addressBytes(at), ...key],
    value: [addressBytes(podAddress), portBytes(port.containerPort)],
  };
}

function portBytes(port: number): Uint8Array {
  return Uint8Array.of(port >>> 8, port);
}

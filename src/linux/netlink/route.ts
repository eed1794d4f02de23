// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { ByteReader, type ByteWriter } from "../../lib/bytes.ts";
import type { ErrnoName } from "../abi/errno.ts";
import {
  AF_BRIDGE,
  IF_OPER_UP,
  IFF_UP,
  IFINFOMSG_BYTES,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_BRPORT_MODE,
  IFLA_EXT_MASK,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  IFLA_OPERSTATE,
  IFLA_PROTINFO,
  IFNAMSIZ,
  IN6_ADDR_GEN_MODE_NONE,
  RTEXT_FILTER_SKIP_STATS,
  VETH_INFO_PEER,
} from "../abi/if-link.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "../abi/netlink.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  IFA_ADDRESS,
  IFA_BROADCAST,
  IFA_F_NODAD,
  IFA_LOCAL,
  IFADDRMSG_BYTES,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_TABLE,
  RTM_DELLINK,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
  RTM_SETLINK,
  RTMSG_BYTES,
  RTN_UNICAST,
  RTPROT_BOOT,
} from "../abi/rtnetlink.ts";
import {
  body,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  putBytes,
  putNested,
  putText,
  putU8,
  putU32,
  textOf,
  u32Of,
} from "./message.ts";

/** A network interface as the kernel describes it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`; empty for hardware. */
  readonly kind: string;
  /** Lower-case hex with colons; empty where there is none. */
  readonly mac: string;
  readonly isUp: boolean;
  /** True when it is up, its other end is too, and the kernel has taken note of both: packets pass. */
  readonly isOperational: boolean;
  /** Index of the bridge it belongs to, 0 for none. */
  readonly master: number;
  /** Of a veth: the peer's index in the peer's network namespace. */
  readonly peer: number;
}

/** A link by its number, or by its name where the number is not known. */
export type LinkSelector = { readonly index: number } | { readonly name: string };

/** Creates a bridge, down; its address is fixed, so it does not follow its ports'. */
export function createBridge(bridge: { name: string; mac: string; mtu: number }): NetlinkRequest {
  return {
    operation: `create bridge ${bridge.name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: body((w) => {
      putLink(w, { name: bridge.name });
      putBytes(w, IFLA_ADDRESS, macBytes(bridge.mac));
      putU32(w, IFLA_MTU, bridge.mtu);
      putNested(w, IFLA_LINKINFO, (info) => putText(info, IFLA_INFO_KIND, "bridge"));
    }),
  };
}

/** Creates a veth pair, down: one end here as a port of `master`, the other in the namespace of `netnsFd`. */
export function createVeth(veth: {
  name: string;
  master: number;
  mtu: number;
  peer: { name: string; mac: string; netnsFd: number };
}): NetlinkRequest {
  return {
    operation: `create veth ${veth.name} with ${veth.peer.name} in the pod`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: body((w) => {
      putLink(w, { name: veth.name });
      putU32(w, IFLA_MTU, veth.mtu);
      putU32(w, IFLA_MASTER, veth.master);
      putNested(w, IFLA_LINKINFO, (info) => {
        putText(info, IFLA_INFO_KIND, "veth");
        putNested(info, IFLA_INFO_DATA, (data) =>
          putNested(data, VETH_INFO_PEER, (peer) => {
            putLink(peer, { name: veth.peer.name });
            putBytes(peer, IFLA_ADDRESS, macBytes(veth.peer.mac));
            putU32(peer, IFLA_MTU, veth.mtu);
            putU32(peer, IFLA_NET_NS_FD, veth.peer.netnsFd);
          }),
        );
      });
    }),
  };
}

/** Brings a link up. */
export function setLinkUp(link: LinkSelector): NetlinkRequest {
  return {
    operation: `bring ${describe(link)} up`,
    type: RTM_SETLINK,
    flags: 0,
    body: body((w) => putLink(w, link, IFF_UP)),
  };
}

/** What is to be set of a link. */
export interface LinkOptions {
  /** Numbers of the IPV4_DEVCONF_ family by value, the same as below /proc/sys/net/ipv4/conf. */
  readonly ipv4?: ReadonlyMap<number, number>;
  /** Keeps IPv6 from giving the link an address by itself; a kernel without IPv6 refuses that. */
  readonly hasNoIpv6Address?: boolean;
}

/** Sets options of a link; those that are not given stay. */
export function configureLink(link: LinkSelector, options: LinkOptions): NetlinkRequest {
  const { ipv4 = new Map<number, number>(), hasNoIpv6Address = false } = options;
  return {
    operation: `configure ${describe(link)}`,
    type: RTM_SETLINK,
    flags: 0,
    body: body((w) => {
      putLink(w, link);
      putNested(w, IFLA_AF_SPEC, (families) => {
        if (hasNoIpv6Address) {
          putNested(families, AF_INET6, (inet6) =>
            putU8(inet6, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE),
          );
        }
        if (ipv4.size === 0) return;
        putNested(families, AF_INET, (inet) =>
          putNested(inet, IFLA_INET_CONF, (options) => {
            for (const [option, value] of ipv4) putU32(options, option, value);
          }),
        );
      });
    }),
  };
}

/** Lets a bridge send frames back by the port on which they came. */
export function setHairpin(port: { readonly index: number }): NetlinkRequest {
  return {
    operation: `set hairpin mode of link ${port.index}`,
    type: RTM_SETLINK,
    flags: 0,
    body: body((w) => {
      putLink(w, port, 0, AF_BRIDGE);
      putNested(w, IFLA_PROTINFO, (options) => putU8(options, IFLA_BRPORT_MODE, 1));
    }),
  };
}

/** Removes a link; the other end of a veth goes with it. One that is gone already is no error. */
export function deleteLink(link: LinkSelector): NetlinkRequest {
  return {
    operation: `remove ${describe(link)}`,
    type: RTM_DELLINK,
    flags: 0,
    body: body((w) => putLink(w, link)),
    tolerated: ["ENODEV"],
  };
}

/** Asks for one link; a link that does not exist answers nothing. Answers: `decodeLink`. */
export function getLink(link: LinkSelector): NetlinkRequest {
  const tolerated: ErrnoName[] = ["ENODEV"];
  return {
    operation: `look up ${describe(link)}`,
    type: RTM_GETLINK,
    flags: 0,
    body: body((w) => {
      putLink(w, link);
      putU32(w, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    }),
    tolerated,
  };
}

/** Asks for all links, or for the ports of a bridge by its index; answers: `decodeLink`. */
export function listLinks(master?: number): NetlinkRequest {
  return {
    operation: "list links",
    type: RTM_GETLINK,
    flags: 0,
    body: body((w) => {
      putLink(w, { index: 0 });
      putU32(w, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      if (master !== undefined) putU32(w, IFLA_MASTER, master);
    }),
  };
}

/**
 * Adds an address; one that is there already is no error. One of IPv6 can be used at once: the kernel does not ask
 * the neighbours whether somebody has it.
 */
export function addAddress(link: { name: string; index: number }, address: InterfaceAddress): NetlinkRequest {
  const { bytes, prefixLength, broadcast } = address;
  return {
    operation: `add address ${addressText(bytes)}/${prefixLength} to ${link.name}`,
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    tolerated: ["EEXIST"],
    body: body((w) => {
      const family = familyOf(bytes);
      w.u8(family).u8(prefixLength);
      w.u8(family === AF_INET6 ? IFA_F_NODAD : 0);
      w.u8(RT_SCOPE_UNIVERSE).u32(link.index);
      putBytes(w, IFA_LOCAL, bytes);
      putBytes(w, IFA_ADDRESS, bytes);
      if (broadcast !== undefined) putBytes(w, IFA_BROADCAST, broadcast);
    }),
  };
}

/** An address with its network, as bytes in network order. */
export interface InterfaceAddress {
  readonly bytes: Uint8Array;
  readonly prefixLength: number;
  readonly broadcast?: Uint8Array;
}

/** Adds the route for everything that no other route of the main table is for. */
export function addDefaultRoute(link: { name: string; index: number }, gateway: Uint8Array): NetlinkRequest {
  return {
    operation: `add default route by ${addressText(gateway)} on ${link.name}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: body((w) => {
      w.u8(familyOf(gateway)).zeros(3).u8(RT_TABLE_MAIN).u8(RTPROT_BOOT);
      w.u8(RT_SCOPE_UNIVERSE).u8(RTN_UNICAST).u32(0);
      putBytes(w, RTA_GATEWAY, gateway);
      putU32(w, RTA_OIF, link.index);
    }),
  };
}

/** The family of an address, in the kernel's number. */
export type AddressFamily = typeof AF_INET | typeof AF_INET6;

/** Asks for all routes of a family; answers: `decodeRoute`. */
export function listRoutes(family: AddressFamily): NetlinkRequest {
  const request = body((w) => w.u8(family).zeros(RTMSG_BYTES - 1));
  return { operation: "list routes", type: RTM_GETROUTE, flags: 0, body: request };
}

/** Asks for all addresses of a family; answers: `decodeAddress`. */
export function listAddresses(family: AddressFamily): NetlinkRequest {
  const request = body((w) => w.u8(family).zeros(IFADDRMSG_BYTES - 1));
  return { operation: "list addresses", type: RTM_GETADDR, flags: 0, body: request };
}

/** Reads the answer to `getLink` and `listLinks`. */
export function decodeLink({ payload }: NetlinkMessage): Link {
  const reader = new ByteReader(payload);
  const index = reader.skip(4).i32();
  const flags = reader.u32();
  const attributes = decodeAttributes(reader.skip(4).bytes(reader.remaining));
  const info = decodeAttributes(attributes.get(IFLA_LINKINFO) ?? new Uint8Array());
  const number = (type: number) => {
    const value = attributes.get(type);
    return value === undefined ? 0 : u32Of(value);
  };
  return {
    index,
    name: textOf(attributes.get(IFLA_IFNAME) ?? new Uint8Array()),
    kind: textOf(info.get(IFLA_INFO_KIND) ?? new Uint8Array()),
    mac: Array.from(attributes.get(IFLA_ADDRESS) ?? [], hex).join(":"),
    isUp: (flags & IFF_UP) !== 0,
    isOperational: attributes.get(IFLA_OPERSTATE)?.[0] === IF_OPER_UP,
    master: number(IFLA_MASTER),
    peer: number(IFLA_LINK),
  };
}

/** Reads the answer to `listAddresses`. */
export function decodeAddress({ payload }: NetlinkMessage): {
  address: Uint8Array;
  prefixLength: number;
  index: number;
} {
  const reader = new ByteReader(payload);
  const family = reader.u8();
  const prefixLength = reader.u8();
  const index = reader.skip(2).u32();
  const attributes = decodeAttributes(reader.bytes(reader.remaining));
  const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? unspecified(family);
  return { address, prefixLength, index };
}

/** Reads the answer to `listRoutes`; `index` is 0 for a route with several next hops or none. */
export function decodeRoute({ payload }: NetlinkMessage): {
  destination: Uint8Array;
  prefixLength: number;
  table: number;
  /** RTPROT_ number: who made it. */
  protocol: number;
  type: number;
  index: number;
} {
  const reader = new ByteReader(payload);
  const family = reader.u8();
  const prefixLength = reader.u8();
  const shortTable = reader.skip(2).u8();
  const protocol = reader.u8();
  const type = reader.skip(1).u8();
  const attributes = decodeAttributes(reader.skip(4).bytes(reader.remaining));
  const table = attributes.get(RTA_TABLE);
  const index = attributes.get(RTA_OIF);
  return {
    destination: attributes.get(RTA_DST) ?? unspecified(family),
    prefixLength,
    table: table === undefined ? shortTable : u32Of(table),
    protocol,
    type,
    index: index === undefined ? 0 : u32Of(index),
  };
}

/** struct ifinfomsg and, for a link known by name, that attribute. */
function putLink(writer: ByteWriter, link: LinkSelector, up = 0, family = AF_UNSPEC): void {
  const start = writer.length;
  const index = "index" in link ? link.index : 0;
  writer.u8(family).zeros(3).u32(index).u32(up).u32(up);
  if (writer.length - start !== IFINFOMSG_BYTES) throw new Error("struct ifinfomsg has a wrong size");
  if (!("name" in link)) return;
  if (link.name.length >= IFNAMSIZ) throw new RangeError(`interface name ${link.name} is too long`);
  putText(writer, IFLA_IFNAME, link.name);
}

function describe(link: LinkSelector): string {
  return "name" in link ? `link ${link.name}` : `link ${link.index}`;
}

function familyOf(address: Uint8Array): AddressFamily {
  return address.length === 4 ? AF_INET : AF_INET6;
}

function unspecified(family: number): Uint8Array {
  return new Uint8Array(family === AF_INET6 ? 16 : 4);
}

function addressText(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

function macBytes(mac: string): Uint8Array {
  const bytes = Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
  if (bytes.length !== 6) throw new RangeError(`${mac} is no Ethernet address`);
  return bytes;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

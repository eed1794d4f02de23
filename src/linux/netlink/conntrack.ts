// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import type { ByteWriter } from "../../lib/bytes.ts";
import { NFGENMSG_BYTES, NFNL_SUBSYS_CTNETLINK, NLA_F_NESTED } from "../abi/netlink.ts";
import { IPS_DST_NAT, NFPROTO_IPV4, NFPROTO_IPV6 } from "../abi/nf-tables.ts";
import {
  CTA_FILTER,
  CTA_FILTER_F_CTA_IP_SRC,
  CTA_FILTER_ORIG_FLAGS,
  CTA_FILTER_REPLY_FLAGS,
  CTA_ID,
  CTA_IP_V4_SRC,
  CTA_IP_V6_SRC,
  CTA_STATUS,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  IPCTNL_MSG_CT_DELETE,
  IPCTNL_MSG_CT_GET,
} from "../abi/nfnetlink-conntrack.ts";
import {
  body,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  putBytes,
  putNested,
  putU32,
  putU32be,
} from "./message.ts";

/** A connection that the kernel keeps track of, as it names it itself. */
export interface TrackedConnection {
  /** NFPROTO_ number. */
  readonly family: number;
  /** The address that answers: of a connection with destination NAT, the one behind it. */
  readonly answering: Uint8Array;
  /** The attributes that name it to the kernel. */
  readonly original: Uint8Array;
  readonly id: Uint8Array;
}

/**
 * Asks for the connections that `address`, of 4 or 16 bytes, answers; answers: `decodeConnection`. More than those
 * come, so the reader compares too: a kernel before 5.8 does not know the filter, and later ones have it the wrong way
 * round for IPv6 (`!ipv6_addr_cmp` in net/netfilter/nf_conntrack_netlink.c), so that all with destination NAT are
 * asked for there.
 */
export function listConnections(address: Uint8Array): NetlinkRequest {
  const isIpv4 = address.length === 4;
  return {
    operation: `list connections to ${ipaddr.fromByteArray([...address])}`,
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
    flags: 0,
    body: body((w) => {
      w.u8(isIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6).zeros(NFGENMSG_BYTES - 1);
      if (isIpv4) putAnsweringFilter(w, address);
      else putU32be(w, CTA_STATUS, IPS_DST_NAT);
    }),
  };
}

function putAnsweringFilter(w: ByteWriter, address: Uint8Array): void {
  putNested(w, CTA_TUPLE_REPLY, (tuple) =>
    putNested(tuple, CTA_TUPLE_IP, (ip) => putBytes(ip, CTA_IP_V4_SRC, address)),
  );
  putNested(w, CTA_FILTER, (filter) => {
    putU32(filter, CTA_FILTER_ORIG_FLAGS, 0);
    putU32(filter, CTA_FILTER_REPLY_FLAGS, CTA_FILTER_F_CTA_IP_SRC);
  });
}

/** Reads an answer to `listConnections`. */
export function decodeConnection({ payload }: NetlinkMessage): TrackedConnection {
  const nothing = new Uint8Array();
  const attributes = decodeAttributes(payload.subarray(NFGENMSG_BYTES));
  const reply = decodeAttributes(attributes.get(CTA_TUPLE_REPLY) ?? nothing);
  const addresses = decodeAttributes(reply.get(CTA_TUPLE_IP) ?? nothing);
  return {
    family: payload[0] ?? 0,
    answering: addresses.get(CTA_IP_V4_SRC) ?? addresses.get(CTA_IP_V6_SRC) ?? nothing,
    original: attributes.get(CTA_TUPLE_ORIG) ?? nothing,
    id: attributes.get(CTA_ID) ?? nothing,
  };
}

/** Makes the kernel forget a connection; its next packet counts as the first. */
export function deleteConnection({ family, original, id }: TrackedConnection): NetlinkRequest {
  return {
    operation: "forget a connection",
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
    flags: 0,
    tolerated: ["ENOENT"],
    body: body((w) => {
      w.u8(family).zeros(NFGENMSG_BYTES - 1);
      putBytes(w, CTA_TUPLE_ORIG | NLA_F_NESTED, original);
      putBytes(w, CTA_ID, id);
    }),
  };
}

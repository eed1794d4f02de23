// SPDX-License-Identifier: Apache-2.0

import { NFGENMSG_BYTES, NFNL_SUBSYS_CTNETLINK, NLA_F_NESTED } from "../abi/netlink.ts";
import { NFPROTO_IPV4 } from "../abi/nf-tables.ts";
import {
  CTA_FILTER,
  CTA_FILTER_F_CTA_IP_SRC,
  CTA_FILTER_ORIG_FLAGS,
  CTA_FILTER_REPLY_FLAGS,
  CTA_ID,
  CTA_IP_V4_SRC,
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
} from "./message.ts";

/** A connection that the kernel keeps track of, as it names it itself. */
export interface TrackedConnection {
  /** The address that answers: of a connection with destination NAT, the one behind it. */
  readonly answering: Uint8Array;
  /** The attributes that name it to the kernel. */
  readonly original: Uint8Array;
  readonly id: Uint8Array;
}

/**
 * Asks for the IPv4 connections that `address` answers; answers: `decodeConnection`. A kernel before 5.8
 * does not know the filter and answers with all, so the reader compares too.
 */
export function listConnections(address: Uint8Array): NetlinkRequest {
  return {
    operation: `list connections to ${address.join(".")}`,
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
    flags: 0,
    body: body((w) => {
      w.u8(NFPROTO_IPV4).zeros(NFGENMSG_BYTES - 1);
      putNested(w, CTA_TUPLE_REPLY, (tuple) =>
        putNested(tuple, CTA_TUPLE_IP, (ip) => putBytes(ip, CTA_IP_V4_SRC, address)),
      );
      putNested(w, CTA_FILTER, (filter) => {
        putU32(filter, CTA_FILTER_ORIG_FLAGS, 0);
        putU32(filter, CTA_FILTER_REPLY_FLAGS, CTA_FILTER_F_CTA_IP_SRC);
      });
    }),
  };
}

/** Reads an answer to `listConnections`. */
export function decodeConnection({ payload }: NetlinkMessage): TrackedConnection {
  const nothing = new Uint8Array();
  const attributes = decodeAttributes(payload.subarray(NFGENMSG_BYTES));
  const reply = decodeAttributes(attributes.get(CTA_TUPLE_REPLY) ?? nothing);
  const addresses = decodeAttributes(reply.get(CTA_TUPLE_IP) ?? nothing);
  return {
    answering: addresses.get(CTA_IP_V4_SRC) ?? nothing,
    original: attributes.get(CTA_TUPLE_ORIG) ?? nothing,
    id: attributes.get(CTA_ID) ?? nothing,
  };
}

/** Makes the kernel forget a connection; its next packet counts as the first. */
export function deleteConnection({ original, id }: TrackedConnection): NetlinkRequest {
  return {
    operation: "forget a connection",
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
    flags: 0,
    tolerated: ["ENOENT"],
    body: body((w) => {
      w.u8(NFPROTO_IPV4).zeros(NFGENMSG_BYTES - 1);
      putBytes(w, CTA_TUPLE_ORIG | NLA_F_NESTED, original);
      putBytes(w, CTA_ID, id);
    }),
  };
}

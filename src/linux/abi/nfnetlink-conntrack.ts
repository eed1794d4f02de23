// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/netfilter/nfnetlink_conntrack.h.

export const IPCTNL_MSG_CT_GET = 1;
export const IPCTNL_MSG_CT_DELETE = 2;

export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
export const CTA_STATUS = 3;
export const CTA_ID = 12;
export const CTA_FILTER = 25;
export const CTA_TUPLE_IP = 1;
export const CTA_IP_V4_SRC = 1;
export const CTA_IP_V6_SRC = 3;
export const CTA_FILTER_ORIG_FLAGS = 1;
export const CTA_FILTER_REPLY_FLAGS = 2;

/** Of CTA_FILTER_..._FLAGS: compare the source address. Only net/netfilter/nf_conntrack_netlink.c has it. */
export const CTA_FILTER_F_CTA_IP_SRC = 1;

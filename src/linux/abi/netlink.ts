// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/netlink.h and include/uapi/linux/netfilter/nfnetlink.h; see netlink(7).

export const AF_NETLINK = 16;
export const SOL_NETLINK = 270;
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_EXT_ACK = 11;
export const NETLINK_CAP_ACK = 10;
export const NETLINK_GET_STRICT_CHK = 12;

export const NLM_F_REQUEST = 1;
export const NLM_F_MULTI = 2;
export const NLM_F_ACK = 4;
export const NLM_F_ROOT = 256;
export const NLM_F_MATCH = 512;
export const NLM_F_DUMP = 768;
export const NLM_F_DUMP_INTR = 16;
export const NLM_F_REPLACE = 256;
export const NLM_F_EXCL = 512;
export const NLM_F_CREATE = 1024;
export const NLM_F_APPEND = 2048;
export const NLM_F_CAPPED = 256;
export const NLM_F_ACK_TLVS = 512;

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;
export const NLMSG_MIN_TYPE = 16;
export const NLMSGERR_ATTR_MSG = 1;
export const NLMSGERR_ATTR_OFFS = 2;
export const NLMSGERR_ATTR_MISS_TYPE = 5;

/** Flags in the type of an attribute; the rest is the number. */
export const NLA_F_NESTED = 32768;
export const NLA_F_NET_BYTEORDER = 16384;
export const NLA_TYPE_MASK = 0x3fff;

/** sizeof(struct nlmsghdr), (struct nlattr), (struct nfgenmsg). */
export const NLMSG_HDRLEN = 16;
export const NLA_HDRLEN = 4;
export const NFGENMSG_BYTES = 4;

export const NFNL_MSG_BATCH_BEGIN = 16;
export const NFNL_MSG_BATCH_END = 17;
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFNL_SUBSYS_CTNETLINK = 1;

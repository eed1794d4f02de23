// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/if.h, if_link.h, veth.h, ip.h and of bits/socket.h.

export const AF_BRIDGE = 7;
export const IFF_UP = 1;
/** Of rtnetlink.h, for IFLA_EXT_MASK: counting what a link has seen costs more than all the rest. */
export const RTEXT_FILTER_SKIP_STATS = 8;
export const IFNAMSIZ = 16;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_MASTER = 10;
export const IFLA_PROTINFO = 12;
export const IFLA_OPERSTATE = 16;
export const IFLA_LINKINFO = 18;
export const IFLA_NET_NS_FD = 28;
export const IFLA_AF_SPEC = 26;
export const IFLA_EXT_MASK = 29;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
export const VETH_INFO_PEER = 1;
export const IFLA_BRPORT_MODE = 4;
export const IFLA_INET_CONF = 1;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;
export const IPV4_DEVCONF_FORWARDING = 1;
export const IPV4_DEVCONF_ROUTE_LOCALNET = 26;
export const IFLA_LINK = 5;

export const IF_OPER_UP = 6;

/** sizeof(struct ifinfomsg). */
export const IFINFOMSG_BYTES = 16;
/** Hardware addresses of Ethernet. */
export const ETH_ALEN = 6;
/** The loopback interface is the first of every network namespace. */
export const LOOPBACK_INDEX = 1;

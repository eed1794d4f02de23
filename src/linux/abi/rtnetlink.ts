// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/rtnetlink.h and if_addr.h; see rtnetlink(7).

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_UNSPEC = 0;

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_SETLINK = 19;
export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;
export const RTM_DELADDR = 21;
export const RTM_NEWROUTE = 24;
export const RTM_GETROUTE = 26;

export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_TABLE = 15;
export const RT_TABLE_MAIN = 254;
export const RTPROT_BOOT = 3;
export const RTPROT_RA = 9;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;

export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_BROADCAST = 4;
export const IFA_F_NODAD = 2;

/** sizeof(struct rtmsg) and (struct ifaddrmsg). */
export const RTMSG_BYTES = 12;
export const IFADDRMSG_BYTES = 8;

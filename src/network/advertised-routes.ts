// SPDX-License-Identifier: Apache-2.0

import { NETLINK_ROUTE } from "../linux/abi/netlink.ts";
import { AF_INET6, RTPROT_RA } from "../linux/abi/rtnetlink.ts";
import { decodeLink, decodeRoute, listLinks, listRoutes } from "../linux/netlink/route.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";
import { optionOf, setOption } from "./ipv6.ts";

/*
 * A machine that forwards IPv6 is a router to the kernel, which then forgets the routes that other routers have
 * advertised and hears no new ones, unless an interface's accept_ra is 2 (Documentation/networking/ip-sysctl.rst). A
 * machine that has its default route that way would lose it with its first pod.
 */

const OPTION = "accept_ra";
const UNLESS_ROUTER = "1";
const ALWAYS = "2";

/** Interfaces with advertised routes that would lose them if the machine forwarded. */
export async function linksWithAdvertisedRoutes(): Promise<string[]> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const routes = (await socket.dump(listRoutes(AF_INET6))).map(decodeRoute);
  const indexes = new Set(routes.filter(({ protocol }) => protocol === RTPROT_RA).map(({ index }) => index));
  if (indexes.size === 0) return [];
  return (await socket.dump(listLinks()))
    .map(decodeLink)
    .filter(({ index, name }) => indexes.has(index) && optionOf(name, OPTION) === UNLESS_ROUTER)
    .map(({ name }) => name);
}

/** Lets these interfaces hear routers, also while the machine forwards. */
export function hearRoutersAlways(links: readonly string[]): void {
  change(links, UNLESS_ROUTER, ALWAYS);
}

/** Undoes `hearRoutersAlways`; an interface that has gone, or that somebody has set otherwise, is left alone. */
export function hearRoutersUnlessForwarding(links: readonly string[]): void {
  change(links, ALWAYS, UNLESS_ROUTER);
}

function change(links: readonly string[], from: string, to: string): void {
  for (const link of links) if (optionOf(link, OPTION) === from) setOption(link, OPTION, to);
}

// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { assert } from "../lib/assert.ts";
import { sleep } from "../lib/deadline.ts";
import {
  IPV4_DEVCONF_FORWARDING,
  IPV4_DEVCONF_ROUTE_LOCALNET,
  LOOPBACK_INDEX,
} from "../linux/abi/if-link.ts";
import { NETLINK_ROUTE } from "../linux/abi/netlink.ts";
import { AF_INET, AF_INET6, RT_TABLE_MAIN, RTN_UNICAST } from "../linux/abi/rtnetlink.ts";
import { withNetworkNamespace } from "../linux/namespace.ts";
import type { NetlinkRequest } from "../linux/netlink/message.ts";
import {
  addAddress,
  addDefaultRoute,
  configureLink,
  createBridge,
  createVeth,
  decodeAddress,
  decodeLink,
  decodeRoute,
  deleteLink,
  getLink,
  type InterfaceAddress,
  type Link,
  type LinkSelector,
  listAddresses,
  listLinks,
  listRoutes,
  setHairpin,
  setLinkUp,
} from "../linux/netlink/route.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";
import { macOf } from "./ipam.ts";
import { hasIpv6, ignoreAdvertisements, ipv6Problem, skipDuplicateDetection } from "./ipv6.ts";
import { addressBytes, bytesOf, numberOf, overlaps, type Subnet, textOf } from "./subnet.ts";

/** The bridge as the configuration wants it. */
export interface BridgeSettings {
  readonly bridge: string;
  readonly mtu: number;
  /** One, or one of each family; the primary first. */
  readonly subnets: readonly Subnet[];
}

/** An address of a pod with the subnet that it is from. */
export interface PodAddress {
  readonly subnet: Subnet;
  readonly address: string;
}

/** Name of a pod's interface, inside it. */
export const POD_INTERFACE = "eth0";

const LINK_UP_TIMEOUT_MS = 1000;
/**
 * Of the bridge, in each of its IPv6 networks: the machine asks for a pod's hardware address from it where the
 * packet to be sent is somebody else's.
 */
const LINK_LOCAL: InterfaceAddress = { bytes: addressBytes("fe80::1"), prefixLength: 64 };

/** The interface of that name in the machine's namespace. */
export async function findLink(name: string): Promise<Link | undefined> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const answer = (await socket.execute([getLink({ name })]))[0]?.[0];
  return answer === undefined ? undefined : decodeLink(answer);
}

/** All interfaces of the machine's namespace. */
export async function listAll(): Promise<Link[]> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return (await socket.dump(listLinks())).map(decodeLink);
}

/** The ports of a bridge. */
export async function portsOf(bridge: Link): Promise<Link[]> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const links = (await socket.dump(listLinks(bridge.index))).map(decodeLink);
  return links.filter(({ master }) => master === bridge.index);
}

/** Removes an interface if it is there. */
export async function removeLink(name: string): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  await socket.execute([deleteLink({ name })]);
}

/** Waits until the kernel has removed an interface; false when it is still there after `timeoutMs`. */
export async function waitUntilGone(name: string, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  // The kernel takes some ten milliseconds, and each look costs as much as a dozen other calls.
  const longestPauseMs = 32;
  for (
    let pauseMs = 8;
    (await findLink(name)) !== undefined;
    pauseMs = Math.min(pauseMs * 2, longestPauseMs)
  ) {
    if (performance.now() + pauseMs > deadline) return false;
    await sleep(pauseMs);
  }
  return true;
}

/**
 * The bridge, made and configured where it is missing, adopted where a former daemon left it; `present` is the link that has
 * its name now. A FailedPreconditionError names the configuration key when the name or the subnet is somebody else's.
 */
export async function ensureBridge(settings: BridgeSettings, present: Link | undefined): Promise<Link> {
  const { bridge: name, mtu, subnets } = settings;
  const mac = bridgeMac(settings);
  if (present !== undefined && !isOwnBridge(present, settings)) throw nameConflict(present);
  await checkSubnets(settings, present?.index);
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const link = present ?? (await linkOf(socket, name, [createBridge({ name, mac, mtu })]));
  const ipv4 = new Map([
    [IPV4_DEVCONF_FORWARDING, 1],
    // Without it packets from 127.0.0.1 to a host port are dropped as martians.
    [IPV4_DEVCONF_ROUTE_LOCALNET, 1],
  ]);
  ignoreAdvertisements(name);
  const addresses = subnets.map((subnet) => interfaceAddress({ subnet, address: subnet.gateway }));
  if (subnets.some(({ family }) => family === 6)) addresses.push(LINK_LOCAL);
  await socket.execute([
    configureLink(link, { ipv4, hasNoIpv6Address: hasIpv6() }),
    setLinkUp(link),
    ...addresses.map((address) => addAddress(link, address)),
  ]);
  return link;
}

/** Makes a link by `requests` and looks it up, all in one. */
async function linkOf(
  socket: NetlinkSocket,
  name: string,
  requests: readonly NetlinkRequest[],
): Promise<Link> {
  const answer = (await socket.execute([...requests, getLink({ name })])).at(-1)?.[0];
  if (answer === undefined) throw new FailedPreconditionError(`link ${name} was removed while it was made`);
  return decodeLink(answer);
}

/** True for the bridge that podrt makes for this primary subnet: its hardware address says so. */
export function isOwnBridge(link: Link, settings: BridgeSettings): boolean {
  return link.kind === "bridge" && link.mac === bridgeMac(settings);
}

function bridgeMac({ subnets: [primary] }: BridgeSettings): string {
  return primary === undefined ? "" : macOf(primary.gateway);
}

function interfaceAddress({ subnet, address }: PodAddress): InterfaceAddress {
  const { family, prefixLength, last } = subnet;
  const bytes = addressBytes(address);
  return family === 4 ? { bytes, prefixLength, broadcast: bytesOf(last, 4) } : { bytes, prefixLength };
}

function nameConflict(present: Link): FailedPreconditionError {
  const what = present.kind === "bridge" ? "a bridge that podrt did not make for this subnet" : "no bridge";
  return new FailedPreconditionError(
    `network.bridge ${present.name} is an interface of this machine already, and ${what}; set another name or remove it`,
  );
}

/**
 * Refuses subnets that the machine uses otherwise, or whose family it does not have; `own` is the index of the bridge
 * where it exists.
 */
export async function checkSubnets({ bridge, subnets }: BridgeSettings, own?: number): Promise<void> {
  for (const subnet of subnets) {
    if (subnet.family === 6) checkIpv6(subnet);
    await checkSubnet(bridge, subnet, own);
  }
}

function checkIpv6({ text }: Subnet): void {
  const problem = ipv6Problem();
  if (problem === undefined) return;
  throw new FailedPreconditionError(
    `network.subnet ${text} is of IPv6, but ${problem}; enable IPv6 or take that subnet away`,
  );
}

async function checkSubnet(bridge: string, subnet: Subnet, own: number | undefined): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  using another = new NetlinkSocket(NETLINK_ROUTE);
  const family = subnet.family === 4 ? AF_INET : AF_INET6;
  const dumps = [socket.dump(listAddresses(family)), another.dump(listRoutes(family))] as const;
  // No socket is closed while it is still being written to.
  await Promise.allSettled(dumps);
  const [listedAddresses, listedRoutes] = await Promise.all(dumps);
  const addresses = listedAddresses
    .map(decodeAddress)
    .map(({ address, ...rest }) => ({ ...rest, network: address, what: "the address" }));
  const routes = listedRoutes
    .map(decodeRoute)
    .filter(({ table, type, prefixLength }) => {
      return table === RT_TABLE_MAIN && type === RTN_UNICAST && prefixLength > 0;
    })
    .map(({ destination, ...rest }) => ({ ...rest, network: destination, what: "the route" }));
  const conflict = [...addresses, ...routes].find(({ network, prefixLength, index }) => {
    return index !== own && overlaps(subnet, network, prefixLength);
  });
  if (conflict === undefined) return;
  const network = textOf(numberOf(conflict.network), subnet.family);
  const taken = `${conflict.what} ${network}/${conflict.prefixLength}`;
  const where = await linkName(socket, conflict.index);
  throw new FailedPreconditionError(
    `network.subnet ${subnet.text} of ${bridge} overlaps ${taken}${where}; set network.subnet to one that is free`,
  );
}

async function linkName(socket: NetlinkSocket, index: number): Promise<string> {
  if (index === 0) return "";
  const answer = (await socket.execute([getLink({ index })]))[0]?.[0];
  return answer === undefined ? "" : ` of interface ${decodeLink(answer).name}`;
}

/** A veth pair that has been made. */
export interface Connection {
  /** Of the pod's end. */
  readonly mac: string;
  /** Resolves once packets pass, or are not to be waited for any longer; never rejects. */
  readonly isOperational: Promise<void>;
}

/**
 * Makes a veth pair with one end in the bridge and the other in the namespace of `netnsFd`, there with
 * addresses, the primary first, and default routes, and brings the loopback up there. A failure may leave the pair;
 * removing `name` removes both ends.
 */
export async function connect(
  settings: BridgeSettings,
  bridge: Link,
  request: { name: string; netnsFd: number; addresses: readonly PodAddress[]; hasHostPorts: boolean },
): Promise<Connection> {
  const { name, netnsFd, addresses } = request;
  const { mtu } = settings;
  const [primary] = addresses;
  assert(primary !== undefined, "a pod is given an address");
  const mac = macOf(primary.address);
  using opened = new DisposableStack();
  const socket = opened.use(new NetlinkSocket(NETLINK_ROUTE));
  const link = await linkOf(socket, name, [
    createVeth({ name, master: bridge.index, mtu, peer: { name: POD_INTERFACE, mac, netnsFd } }),
    ...(hasIpv6() ? [configureLink({ name }, { hasNoIpv6Address: true })] : []),
  ]);
  const inside = { name: POD_INTERFACE, index: link.peer };
  const isIpv6 = addresses.some(({ subnet }) => subnet.family === 6);
  const podSocket = withNetworkNamespace(netnsFd, () => {
    ignoreAdvertisements(POD_INTERFACE);
    if (isIpv6) skipDuplicateDetection(POD_INTERFACE);
    return opened.use(new NetlinkSocket(NETLINK_ROUTE));
  });
  await podSocket.execute([
    setLinkUp({ index: LOOPBACK_INDEX }),
    // An address of IPv6 is told several times to all ports of the bridge, and with many pods that is most of the work.
    ...(hasIpv6() && !isIpv6 ? [configureLink({ index: inside.index }, { hasNoIpv6Address: true })] : []),
    setLinkUp({ index: inside.index }),
    ...addresses.flatMap((one) => [
      addAddress(inside, interfaceAddress(one)),
      addDefaultRoute(inside, addressBytes(one.subnet.gateway)),
    ]),
  ]);
  await socket.execute([
    // Where the machine filters bridged packets (br_netfilter), a pod's packet to its own host port goes
    // from the bridge straight back to it.
    ...(request.hasHostPorts ? [setHairpin(link)] : []),
    // Last, so that the link never is up without its other end: at each change the bridge looks at all of its ports.
    setLinkUp({ index: link.index }),
  ]);
  const sockets = opened.move();
  const isOperational = Promise.allSettled([
    waitUntilOperational(socket, [{ index: link.index }, { index: bridge.index }]),
    waitUntilOperational(podSocket, [{ index: inside.index }]),
  ]).then(() => sockets.dispose());
  return { mac, isOperational };
}

/**
 * The kernel drops what is sent over a link until a worker of its has noticed that both ends are up, which
 * takes it some milliseconds while other links go; a pod whose first packet is lost waits a second for the
 * next try. Not for ever: a link that stays down is no reason to fail.
 */
async function waitUntilOperational(socket: NetlinkSocket, links: readonly LinkSelector[]): Promise<void> {
  const deadline = performance.now() + LINK_UP_TIMEOUT_MS;
  while (performance.now() < deadline) {
    await sleep(1);
    const answers = (await socket.execute(links.map(getLink))).flat();
    if (answers.every((answer) => decodeLink(answer).isOperational)) return;
  }
}

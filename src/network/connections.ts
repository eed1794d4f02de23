// SPDX-License-Identifier: Apache-2.0
import { NETLINK_NETFILTER } from "../linux/abi/netlink.ts";
import { decodeConnection, deleteConnection, listConnections } from "../linux/netlink/conntrack.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";
import { addressBytes } from "./subnet.ts";

const DELETIONS_AT_ONCE = 64;

/**
 * Makes the kernel forget the connections that `address` answers. Without it, who goes on sending UDP to
 * a host port of a pod that has gone is sent to that pod's address for ever, also when another pod has
 * the port by then.
 */
export async function forgetConnections(address: string): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const wanted = addressBytes(address);
  const tracked = (await socket.dump(listConnections(wanted))).map(decodeConnection);
  const connections = tracked.filter(({ answering }) => Buffer.compare(answering, wanted) === 0);
  for (let start = 0; start < connections.length; start += DELETIONS_AT_ONCE) {
    await socket.execute(connections.slice(start, start + DELETIONS_AT_ONCE).map(deleteConnection));
  }
}

// SPDX-License-Identifier: Apache-2.0
import { LOOPBACK_INDEX } from "../linux/abi/if-link.ts";
import { NETLINK_ROUTE } from "../linux/abi/netlink.ts";
import { withNetworkNamespace } from "../linux/namespace.ts";
import { setLinkUp } from "../linux/netlink/route.ts";
import { NetlinkSocket } from "../linux/netlink/socket.ts";

/** A port of the machine that leads to one of a pod. */
export interface HostPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  readonly hostPort: number;
  /** The one address of the machine to take it on; absent, empty or 0.0.0.0 for all. */
  readonly hostIp?: string;
}

/** How a sandbox is attached to the network. */
export interface Attachment {
  /** Name inside the pod. */
  readonly interfaceName: string;
  /** The primary first, without prefix length. */
  readonly addresses: readonly string[];
  readonly gateway: string;
  readonly prefixLength: number;
  readonly mac: string;
  /** Name of the other end, on the machine. */
  readonly hostInterface: string;
}

/** Whether pods can be attached; `reason` and `message` say why not. */
export interface NetworkStatus {
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
}

/** A network that attaches sandboxes: podrt's own bridge, or plugins. */
export interface PodNetwork {
  status(): NetworkStatus;
  /**
   * Gives the network namespace of `netnsFd` an interface and an address; the descriptor is the
   * caller's and must stay open until the promise settles. A failure leaves nothing behind.
   */
  attach(request: {
    readonly sandboxId: string;
    readonly netnsFd: number;
    readonly hostPorts: readonly HostPort[];
  }): Promise<Attachment>;
  /**
   * Undoes `attach`, also half of one; an unknown sandbox is no error. Call it after the namespace's
   * processes have ended and its pin is gone: the kernel then removes the interface by itself. One that
   * is there five seconds later is removed by name.
   */
  detach(sandboxId: string): Promise<void>;
  /**
   * Hears which subnets the cluster has given to this node's pods, any number of times. Never fails: a
   * network that cannot follow goes on as it is and says so in the log.
   */
  usePodCidrs(cidrs: readonly string[]): Promise<void>;
  /** The machine's address in the pods' network. */
  gatewayAddress(): string;
  /** Makes the machine agree with the leases of `liveSandboxIds`, and removes what belongs to no other. */
  reconcile(liveSandboxIds: ReadonlySet<string>): Promise<void>;
  /** What the network holds on the machine now. */
  owned(): Promise<{ links: string[]; leases: string[] }>;
}

/** Brings the loopback interface of a network namespace up; the kernel gives it its addresses. */
export async function bringLoopbackUp(netnsFd: number): Promise<void> {
  using socket = withNetworkNamespace(netnsFd, () => new NetlinkSocket(NETLINK_ROUTE));
  await socket.execute([setLinkUp({ index: LOOPBACK_INDEX })]);
}

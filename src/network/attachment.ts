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
  /** The one address of the machine to take it on; absent or empty for all, 0.0.0.0 or :: for all of one family. */
  readonly hostIp?: string;
}

/** What a pod asks of the network, in the words of its configuration. */
export interface PodRequest {
  readonly sandboxId: string;
  readonly pod: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly hostPorts: readonly HostPort[];
  readonly annotations: Readonly<Record<string, string>>;
  /** Absent where the pod has the machine's. */
  readonly dns?: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  /** Of the pod, in the cgroup tree. */
  readonly cgroupPath: string;
}

/** A network namespace: a descriptor that is open until the call has ended, and where it is pinned. */
export interface PodNamespace {
  readonly fd: number;
  readonly pin: string;
}

/** How a sandbox is attached to the network. */
export interface Attachment {
  /** The primary first, without prefix length. */
  readonly addresses: readonly string[];
}

/** Whether pods can be attached; `reason` and `message` say why not. */
export interface NetworkStatus {
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
}

/** podrt's own network, which may be without pods, or not in use. */
export interface OwnNetwork {
  /** The machine's addresses in it, of each family one, the primary first. */
  gatewayAddresses(): readonly string[];
  /** Whether an address is in it, a pod's or not. */
  hasAddress(address: string): boolean;
  /** Whether the next pod comes into it. */
  isUsed(): boolean;
}

/** What attaches sandboxes: plugins where a network is configured for them, podrt's own bridge elsewhere. */
export interface PodNetwork {
  status(): Promise<NetworkStatus>;
  /** Throws, with the name of the field, what no network of today can do for the pod. */
  checkRequest(request: PodRequest): void;
  /** Gives the namespace an interface and addresses, and brings its loopback up. After a failure, `detach` takes back what was done. */
  attach(request: PodRequest, namespace: PodNamespace): Promise<Attachment>;
  /**
   * Resolves once packets of an attached sandbox pass: its first process is to wait for that, and nobody before it. Never
   * rejects, and waits a second at most.
   */
  usable(sandboxId: string): Promise<void>;
  /**
   * Undoes `attach`, also half of one, and takes the namespace's pin away; an unknown sandbox is no error. Its
   * processes must have ended. What fails is tried again, by whoever repeats the call and in the background.
   */
  detach(sandboxId: string, pin: string): Promise<void>;
  /**
   * As `detach`, but does not wait for the kernel, which takes its time to take interfaces down: until it has, the
   * addresses are nobody else's.
   */
  release(sandboxId: string, pin: string): Promise<void>;
  /** Resolves when what was released has been taken away, or could not be at the first attempt. */
  settled(): Promise<void>;
  /**
   * Hears which subnets the cluster has given to this node's pods, any number of times. Never fails: a
   * network that cannot follow goes on as it is and says so in the log.
   */
  usePodCidrs(cidrs: readonly string[]): Promise<void>;
  /** Makes the machine agree with the attachments of `liveSandboxIds`, and gives back what belongs to no other. */
  reconcile(liveSandboxIds: ReadonlySet<string>): Promise<void>;
  /** podrt's own network, as the name server in it needs to know it. */
  readonly own: OwnNetwork;
  /** What is configured and what is wrong with it, for a person. */
  describe(): object;
  /** What the plugins answered for a sandbox; undefined for one in podrt's own network. */
  resultOf(sandboxId: string): object | undefined;
}

/** Brings the loopback interface of a network namespace up; the kernel gives it its addresses. */
export async function bringLoopbackUp(netnsFd: number): Promise<void> {
  using socket = withNetworkNamespace(netnsFd, () => new NetlinkSocket(NETLINK_ROUTE));
  await socket.execute([setLinkUp({ index: LOOPBACK_INDEX })]);
}

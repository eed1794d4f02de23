// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InternalError,
  messageOf,
  PodrtError,
  ResourceExhaustedError,
} from "../errors.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { isErrno } from "../linux/syscall.ts";
import type { Attachment, HostPort, NetworkStatus } from "./attachment.ts";
import { connect, POD_INTERFACE, type PodAddress, removeLink, waitUntilGone } from "./bridge-link.ts";
import { BridgeMachine, type BridgeNetworkDeps } from "./bridge-machine.ts";
import { forgetConnections } from "./connections.ts";
import { checkConflicts, checkHostPorts } from "./host-port.ts";
import type { LeaseRecord } from "./ipam.ts";
import { closeHostPorts, openHostPorts } from "./nat-table.ts";
import { chooseAddresses, noteAddresses, subnetsForPod } from "./pod-addresses.ts";
import { usableCidrs } from "./pod-subnets.ts";
import { newReleases, type Releases } from "./releases.ts";
import { contains, parseSubnets } from "./subnet.ts";

/** How long the kernel may take to remove a link after its namespace has died. */
const LINK_REMOVAL_TIMEOUT_MS = 5000;
/** Lock key under which everything that changes the machine's side of the network happens, in turn. */
const MACHINE = "machine";

/** An attachment to the bridge. */
export interface BridgeAttachment extends Attachment {
  /** Name inside the pod. */
  readonly interfaceName: string;
  readonly mac: string;
  /** Name of the other end, on the machine. */
  readonly hostInterface: string;
}

export interface BridgeRequest {
  readonly sandboxId: string;
  /** The caller's, open until the promise settles. */
  readonly netnsFd: number;
  readonly hostPorts: readonly HostPort[];
}

/** podrt's own network; see PodNetwork for what is not explained here. */
export interface BridgeNetwork {
  status(): NetworkStatus;
  checkHostPorts(ports: readonly HostPort[]): void;
  /** Gives the namespace an interface and an address, and brings its loopback up. A failure leaves nothing behind. */
  attach(request: BridgeRequest): Promise<BridgeAttachment>;
  usable(sandboxId: string): Promise<void>;
  /**
   * Undoes `attach`, also half of one; an unknown sandbox is no error. Call it after the namespace's
   * processes have ended and its pin is gone: the kernel then removes the interface by itself. One that
   * is there five seconds later is removed by name.
   */
  detach(sandboxId: string): Promise<void>;
  /** As `detach`, but answers once the host ports are free: the kernel's part is waited for in the background. */
  release(sandboxId: string): Promise<void>;
  /** Resolves when what was released has been taken away, or could not be at the first attempt. */
  settled(): Promise<void>;
  usePodCidrs(cidrs: readonly string[]): Promise<void>;
  /** The machine's addresses in the pods' network, of each family one, the primary first. */
  gatewayAddresses(): string[];
  /** Whether an address is one of the pods' subnets. */
  hasAddress(address: string): boolean;
  reconcile(liveSandboxIds: ReadonlySet<string>): Promise<void>;
  /** What the network holds on the machine now. */
  owned(): Promise<{ links: string[]; leases: string[] }>;
}

/**
 * podrt's own network: a bridge, a veth pair and an address of each family for each pod, masquerade and host
 * ports in an nftables table a family, all over netlink. Bridge, tables and forwarding come with the first pod
 * and go with the last. Throws an InvalidArgumentError for a subnet that cannot be used.
 */
export function openBridgeNetwork(deps: BridgeNetworkDeps): BridgeNetwork {
  return new Bridge(deps);
}

/** The machine's end of a sandbox's veth pair: `pv` and 44 bits of the hashed id, within 15 characters. */
export function hostInterfaceOf(sandboxId: string): string {
  return `pv${createHash("sha256").update(sandboxId).digest("hex").slice(0, 11)}`;
}

function detachmentOf(sandboxId: string): string {
  return `detach sandbox ${sandboxId} from the network`;
}

class Bridge implements BridgeNetwork {
  readonly #deps: BridgeNetworkDeps;
  readonly #machine: BridgeMachine;
  readonly #lock = new KeyedLock();
  readonly #releases: Releases;
  /** First attempts to take away what was released, by sandbox. */
  readonly #releasing = new Map<string, Promise<void>>();
  /** By sandbox: links that are up and may not pass packets yet. */
  readonly #settlingLinks = new Map<string, Promise<void>>();
  /** Why pods cannot be attached, as last seen; looked at again while it lasts. */
  #problem: string | undefined;
  #isChecking = false;

  constructor(deps: BridgeNetworkDeps) {
    this.#deps = deps;
    this.#machine = new BridgeMachine(deps);
    this.#releases = newReleases((sandboxId) => this.detach(sandboxId), deps.log);
  }

  status(): NetworkStatus {
    if (this.#problem === undefined) return { ready: true, reason: "", message: "" };
    void this.#checkAgain();
    return { ready: false, reason: "NetworkPluginNotReady", message: this.#problem };
  }

  async usePodCidrs(cidrs: readonly string[]): Promise<void> {
    const { config, log } = this.#deps;
    await this.#lock.run(MACHINE, async () => {
      const wanted = usableCidrs(cidrs, (reason) =>
        log.warn({ podCidrs: cidrs, reason }, "the cluster's subnet of IPv6 for this node is not taken"),
      );
      const subnets = this.#machine.settings.subnets.map(({ text }) => text);
      if (wanted.length === 0 || wanted.join() === subnets.join()) return;
      const fields = { podCidrs: cidrs, subnets };
      try {
        if (!config.followsPodCidr) throw new FailedPreconditionError("network.subnet is configured");
        await this.#machine.useSubnets(parseSubnets(wanted));
        log.info(fields, "pods get their addresses from the cluster's subnets for this node from now on");
      } catch (error) {
        log.warn(
          { ...fields, reason: messageOf(error) },
          "the cluster's subnets for this node are not taken",
        );
      }
      await this.#noteProblem(() => this.#machine.checkSubnets());
    });
  }

  gatewayAddresses(): string[] {
    return this.#machine.settings.subnets.map(({ gateway }) => gateway);
  }

  hasAddress(address: string): boolean {
    return this.#machine.settings.subnets.some((subnet) => contains(subnet, address));
  }

  async owned(): Promise<{ links: string[]; leases: string[] }> {
    return { links: await this.#machine.links(), leases: [...this.#deps.leases.keys()] };
  }

  checkHostPorts(ports: readonly HostPort[]): void {
    checkHostPorts(ports, this.#machine.families());
  }

  attach({ sandboxId, netnsFd, hostPorts }: BridgeRequest): Promise<BridgeAttachment> {
    const what = `attach sandbox ${sandboxId} to the network`;
    const attach = () => this.#onMachine(what, () => this.#attach(sandboxId, netnsFd, hostPorts));
    return this.#lock.run(sandboxId, async () => {
      try {
        return await attach();
      } catch (error) {
        // In a small subnet the free addresses may be those of pods that have just gone.
        if (!(error instanceof ResourceExhaustedError) || this.#releasing.size === 0) throw error;
        await this.settled();
        return attach();
      }
    });
  }

  async usable(sandboxId: string): Promise<void> {
    await this.#settlingLinks.get(sandboxId);
  }

  detach(sandboxId: string): Promise<void> {
    return this.#lock.run(sandboxId, async () => {
      const lease = this.#deps.leases.get(sandboxId);
      if (lease !== undefined) await this.#detach(lease);
    });
  }

  async release(sandboxId: string): Promise<void> {
    if (this.#releasing.has(sandboxId)) return;
    const isLeased = await this.#lock.run(sandboxId, async () => {
      const lease = this.#deps.leases.get(sandboxId);
      if (lease !== undefined && !lease.isReleasing) await this.#releaseHostPorts(lease);
      return lease !== undefined;
    });
    if (!isLeased || this.#releasing.has(sandboxId)) return;
    const attempt = this.#releases.later(sandboxId).finally(() => this.#releasing.delete(sandboxId));
    this.#releasing.set(sandboxId, attempt);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#releasing.values());
  }

  async reconcile(liveSandboxIds: ReadonlySet<string>): Promise<void> {
    const { leases, log } = this.#deps;
    await this.#onMachine("reconcile the pod network", async () => {
      for (const lease of leases.list().filter(({ sandboxId }) => !liveSandboxIds.has(sandboxId))) {
        log.info({ sandboxId: lease.sandboxId }, "freeing the lease of a sandbox that is gone");
        await removeLink(lease.hostInterface);
        await this.#forgetConnections(lease);
        leases.delete(lease.sandboxId);
      }
      await this.#machine.removeStrayLinks();
      await this.#machine.removeWhenUnused();
      await this.#noteProblem(async () => {
        await this.#machine.checkSubnets();
        if (leases.list().length === 0) return;
        await this.#machine.prepare();
        await this.#machine.writeTables();
      });
    });
    if (this.#problem !== undefined) log.warn({ problem: this.#problem }, "the pod network is not ready");
  }

  async #attach(
    sandboxId: string,
    netnsFd: number,
    hostPorts: readonly HostPort[],
  ): Promise<BridgeAttachment> {
    const { leases, settings, config, log } = this.#deps;
    if (leases.get(sandboxId) !== undefined) {
      throw new AlreadyExistsError(
        `sandbox ${sandboxId} is attached to the network already; detach it first`,
      );
    }
    const subnets = subnetsForPod(this.#machine.settings.subnets, sandboxId, netnsFd);
    const families = subnets.map(({ family }) => family);
    checkHostPorts(hostPorts, families);
    checkConflicts(hostPorts, leases.list());
    await using cleanup = new Cleanup((step, error) =>
      log.warn({ sandboxId, error: messageOf(error) }, `cannot ${step}`),
    );
    cleanup.add("remove the bridge", () => this.#machine.removeWhenUnused());
    const podAddresses = chooseAddresses(subnets, leases.list(), settings);
    const lease = this.#lease(sandboxId, hostPorts, podAddresses);
    cleanup.add("free the lease", () => leases.delete(sandboxId));
    const bridge = await this.#noteProblem(() => this.#machine.prepare(), true);
    const { hostInterface, addresses } = lease;
    cleanup.add("remove the link", () => removeLink(hostInterface));
    const link = {
      name: hostInterface,
      netnsFd,
      addresses: podAddresses,
      hasHostPorts: hostPorts.length > 0,
    };
    const { mac, isOperational } = await connect(this.#machine.settings, bridge, link);
    await openHostPorts(config.table, lease);
    cleanup.release();
    const settled = isOperational.then(() => void this.#settlingLinks.delete(sandboxId));
    this.#settlingLinks.set(sandboxId, settled);
    return { interfaceName: POD_INTERFACE, addresses, mac, hostInterface };
  }

  /** Writes the lease down, before anything uses its addresses. */
  #lease(
    sandboxId: string,
    hostPorts: readonly HostPort[],
    podAddresses: readonly PodAddress[],
  ): LeaseRecord {
    const { leases, settings } = this.#deps;
    const addresses = podAddresses.map(({ address }) => address);
    const hostInterface = hostInterfaceOf(sandboxId);
    const lease = { sandboxId, addresses, hostPorts, hostInterface, isReleasing: false };
    leases.put(sandboxId, lease);
    noteAddresses(settings, addresses);
    return lease;
  }

  async #detach(lease: LeaseRecord): Promise<void> {
    const { leases, log } = this.#deps;
    const { sandboxId, hostInterface } = lease;
    const what = detachmentOf(sandboxId);
    if (!lease.isReleasing) await this.#releaseHostPorts(lease);
    // The address stays leased until nothing can answer to it any more.
    if (!(await waitUntilGone(hostInterface, LINK_REMOVAL_TIMEOUT_MS))) {
      log.warn(
        { sandboxId, hostInterface },
        "the pod's network namespace lives on; removing its link by name",
      );
      await this.#onMachine(what, () => removeLink(hostInterface));
    }
    await this.#onMachine(what, async () => {
      leases.delete(sandboxId);
      await this.#machine.removeWhenUnused();
    });
  }

  #releaseHostPorts(lease: LeaseRecord): Promise<void> {
    return this.#onMachine(detachmentOf(lease.sandboxId), () => this.#freeHostPorts(lease));
  }

  async #freeHostPorts(lease: LeaseRecord): Promise<void> {
    const { leases, config, log } = this.#deps;
    const { sandboxId, hostPorts } = lease;
    // The ports are struck off the lease first: where the table disagrees, it is made anew from that.
    leases.put(sandboxId, { ...lease, hostPorts: [], isReleasing: true });
    if (hostPorts.length === 0) return;
    try {
      await closeHostPorts(config.table, lease);
    } catch (error) {
      if (!isErrno(error, "ENOENT"))
        log.warn({ sandboxId, error: messageOf(error) }, "making the tables anew");
      await this.#machine.writeTables().catch((cause) => {
        // Who repeats the call finds them on the lease again.
        leases.put(sandboxId, lease);
        throw cause;
      });
    }
    await this.#forgetConnections(lease);
  }

  async #forgetConnections({ sandboxId, addresses }: LeaseRecord): Promise<void> {
    try {
      for (const address of addresses) await forgetConnections(address);
    } catch (error) {
      const fields = { sandboxId, error: messageOf(error) };
      this.#deps.log.warn(fields, "connections to the pod's host ports linger");
    }
  }

  /** Runs `work` in turn with all else that changes the machine; a raw kernel error gets `what` before it. */
  #onMachine<T>(what: string, work: () => Promise<T>): Promise<T> {
    return this.#lock.run(MACHINE, async () => {
      try {
        return await work();
      } catch (error) {
        if (error instanceof PodrtError) throw error;
        throw new InternalError(`cannot ${what}: ${messageOf(error)}`, { cause: error });
      }
    });
  }

  /** Remembers for `status` whether `work` found the machine usable. */
  async #noteProblem<T>(work: () => Promise<T>): Promise<T | undefined>;
  async #noteProblem<T>(work: () => Promise<T>, rethrow: true): Promise<T>;
  async #noteProblem<T>(work: () => Promise<T>, rethrow = false): Promise<T | undefined> {
    try {
      const result = await work();
      this.#problem = undefined;
      return result;
    } catch (error) {
      this.#problem = messageOf(error);
      if (rethrow) throw error;
      return undefined;
    }
  }

  async #checkAgain(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    await this.#lock.run(MACHINE, () => this.#noteProblem(() => this.#machine.checkSubnets()));
    this.#isChecking = false;
  }
}

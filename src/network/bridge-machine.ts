// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { FailedPreconditionError } from "../errors.ts";
import type { Link } from "../linux/netlink/route.ts";
import type { Table } from "../state/table.ts";
import {
  type BridgeSettings,
  checkSubnet,
  ensureBridge,
  findLink,
  isOwnBridge,
  listAll,
  portsOf,
  removeLink,
} from "./bridge-link.ts";
import {
  enableForwarding,
  holdsForwarding,
  isForwarding,
  recoverForwarding,
  restoreForwarding,
} from "./forwarding.ts";
import { type LeaseRecord, parseSubnet, type Subnet } from "./ipam.ts";
import { findTables, removeTable, writeTable } from "./nat-table.ts";

/** Setting that holds the subnet which the cluster gave out. */
const POD_CIDR = "network.pod_cidr";
/** Names that `hostInterfaceOf` makes. */
const HOST_INTERFACE = /^pv[0-9a-f]{11}$/;

export interface BridgeNetworkDeps {
  readonly config: Config["network"];
  readonly leases: Table<LeaseRecord>;
  readonly settings: Table<unknown>;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

/**
 * What all pods share on the machine: bridge, nftables table and forwarding. Its methods change the
 * machine in several steps, so the caller runs one at a time.
 */
export class BridgeMachine {
  #settings: BridgeSettings;
  readonly #deps: BridgeNetworkDeps;
  /** Index of the bridge that was last seen to be configured; another one is configured again. */
  #configured: number | undefined;

  constructor(deps: BridgeNetworkDeps) {
    const { bridge, mtu, subnet } = deps.config;
    this.#deps = deps;
    const podCidr = deps.config.followsPodCidr ? deps.settings.get(POD_CIDR) : undefined;
    const chosen = typeof podCidr === "string" ? podCidr : subnet;
    this.#settings = { bridge, mtu, subnet: parseSubnet(chosen) };
  }

  get settings(): BridgeSettings {
    return this.#settings;
  }

  /** Takes another subnet, now and after a restart; throws what speaks against it, and then the former stays. */
  async useSubnet(subnet: Subnet): Promise<void> {
    const { leases, settings } = this.#deps;
    if (leases.list().length > 0) throw new FailedPreconditionError("pods have addresses of the former one");
    await this.removeWhenUnused();
    if ((await findLink(this.settings.bridge)) !== undefined)
      throw new FailedPreconditionError(`bridge ${this.settings.bridge} is in use`);
    const wanted = { ...this.settings, subnet };
    await checkSubnet(wanted, undefined);
    settings.put(POD_CIDR, subnet.text);
    this.#settings = wanted;
    this.#configured = undefined;
  }

  /**
   * Bridge, table and forwarding, each made where it is missing: a firewall that is loaded anew flushes
   * all tables, for example. Returns the bridge.
   */
  async prepare(): Promise<Link> {
    const present = await findLink(this.settings.bridge);
    const isConfigured = present !== undefined && present.index === this.#configured;
    const bridge = isConfigured ? present : await ensureBridge(this.settings);
    this.#configured = bridge.index;
    const isComplete = holdsForwarding(this.#deps.settings) && isForwarding() && (await this.#hasTable());
    if (!isComplete) await this.writeTable();
    return bridge;
  }

  /** Makes the table anew from the leases, and lets the machine forward. */
  async writeTable(): Promise<void> {
    const { config, settings, leases } = this.#deps;
    const { bridge, subnet } = this.settings;
    const comment = await enableForwarding(settings, config.table);
    const nat = { table: config.table, bridge, subnet, masquerade: config.masquerade };
    await writeTable(nat, comment, leases.list());
  }

  /** With the last lease go table, bridge and forwarding; a bridge to which somebody added a port stays. */
  async removeWhenUnused(): Promise<void> {
    const { config, settings, leases, log } = this.#deps;
    if (leases.list().length > 0) return;
    await recoverForwarding(settings, config.table);
    await removeTable(config.table);
    const bridge = await this.#ownBridge();
    if (bridge !== undefined) {
      const ports = (await portsOf(bridge)).map(({ name }) => name);
      if (ports.length === 0) await removeLink(bridge.name);
      else log.warn({ bridge: bridge.name, ports }, "the bridge stays, it has ports that are not podrt's");
    }
    if (holdsForwarding(settings)) await restoreForwarding(settings, config.table);
  }

  /** Removes podrt's ports of the bridge that no lease accounts for. */
  async removeStrayLinks(): Promise<void> {
    const bridge = await this.#ownBridge();
    if (bridge === undefined) return;
    const leased = new Set(this.#deps.leases.list().map(({ hostInterface }) => hostInterface));
    for (const { name } of await portsOf(bridge)) {
      if (HOST_INTERFACE.test(name) && !leased.has(name)) await removeLink(name);
    }
  }

  /** Throws what would keep the first pod from being attached. */
  async checkSubnet(): Promise<void> {
    await checkSubnet(this.settings, (await this.#ownBridge())?.index);
  }

  /** Names of the links that are podrt's and exist: the bridge and the ports it made. */
  async links(): Promise<string[]> {
    const leased = new Set(this.#deps.leases.list().map(({ hostInterface }) => hostInterface));
    const links = await listAll();
    const bridge = links.find((link) => link.name === this.settings.bridge && this.#isOwn(link));
    const isPort = ({ name, master }: Link) => HOST_INTERFACE.test(name) && master === bridge?.index;
    return links
      .filter((link) => link === bridge || leased.has(link.name) || isPort(link))
      .map(({ name }) => name);
  }

  async #hasTable(): Promise<boolean> {
    return (await findTables()).some(({ name }) => name === this.#deps.config.table);
  }

  async #ownBridge(): Promise<Link | undefined> {
    const link = await findLink(this.settings.bridge);
    return link !== undefined && this.#isOwn(link) ? link : undefined;
  }

  #isOwn(link: Link): boolean {
    return isOwnBridge(link, this.settings.subnet);
  }
}

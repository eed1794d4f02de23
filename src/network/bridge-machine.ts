// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { FailedPreconditionError } from "../errors.ts";
import type { Link } from "../linux/netlink/route.ts";
import type { Table } from "../state/table.ts";
import {
  type BridgeSettings,
  checkSubnets,
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
  noteForwarding,
  recoverForwarding,
  restoreForwarding,
} from "./forwarding.ts";
import type { LeaseRecord } from "./ipam.ts";
import { type FoundTable, findTables, removeTable, writeTables } from "./nat-table.ts";
import { chosenSubnets, keepPodSubnets } from "./pod-subnets.ts";
import { FAMILIES, type Family, type Subnet } from "./subnet.ts";

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
 * What all pods share on the machine: bridge, and of each family an nftables table and forwarding. Its methods change the
 * machine in several steps, so the caller runs one at a time.
 */
export class BridgeMachine {
  #settings: BridgeSettings;
  readonly #deps: BridgeNetworkDeps;
  /** Index of the bridge that was last seen to be configured; another one is configured again. */
  #configured: number | undefined;

  constructor(deps: BridgeNetworkDeps) {
    const { bridge, mtu } = deps.config;
    this.#deps = deps;
    this.#settings = { bridge, mtu, subnets: chosenSubnets(deps.config, deps.settings) };
  }

  get settings(): BridgeSettings {
    return this.#settings;
  }

  /** The families that pods get addresses of. */
  families(): Family[] {
    return this.settings.subnets.map(({ family }) => family);
  }

  /**
   * Takes other subnets, now and after a restart; throws what speaks against it, and then the former stay. While
   * there are pods, one can only be added to the one that they are from.
   */
  async useSubnets(subnets: readonly Subnet[]): Promise<void> {
    const { leases, settings } = this.#deps;
    const wanted = { ...this.settings, subnets };
    const isAddition = this.settings.subnets.every(({ text }, index) => subnets[index]?.text === text);
    if (isAddition) await checkSubnets(wanted, (await this.#ownBridge())?.index);
    else {
      if (leases.list().length > 0)
        throw new FailedPreconditionError("pods have addresses of the former one");
      await this.removeWhenUnused();
      if ((await findLink(this.settings.bridge)) !== undefined)
        throw new FailedPreconditionError(`bridge ${this.settings.bridge} is in use`);
      await checkSubnets(wanted, undefined);
    }
    keepPodSubnets(settings, subnets);
    this.#settings = wanted;
    this.#configured = undefined;
  }

  /**
   * Bridge, tables and forwarding, each made where it is missing: a firewall that is loaded anew flushes
   * all tables, for example. Returns the bridge.
   */
  async prepare(): Promise<Link> {
    const [present, tables] = await Promise.all([findLink(this.settings.bridge), this.#tables()]);
    const isConfigured = present !== undefined && present.index === this.#configured;
    const bridge = isConfigured ? present : await ensureBridge(this.settings, present);
    this.#configured = bridge.index;
    const isComplete = this.families().every(
      (family) =>
        holdsForwarding(this.#deps.settings, family) &&
        isForwarding(family) &&
        tables.some((table) => table.family === family),
    );
    if (!isComplete) await this.writeTables(tables);
    return bridge;
  }

  /**
   * Makes the tables anew from the leases, and lets the machine forward; what a family that pods no longer have needed goes.
   * `present` is what tables there are, where that has just been asked.
   */
  async writeTables(present?: readonly FoundTable[]): Promise<void> {
    const { config, settings, leases } = this.#deps;
    const { bridge, subnets } = this.settings;
    for (const family of FAMILIES) if (!this.families().includes(family)) await this.#leave(family, present);
    const families = [];
    for (const subnet of subnets) {
      const comment = await noteForwarding(settings, subnet.family, config.table);
      families.push({ subnet, comment });
    }
    const nat = { name: config.table, bridge, masquerade: config.masquerade, families };
    await writeTables(nat, leases.list());
    for (const family of this.families()) await enableForwarding(settings, family);
  }

  /** With the last lease go tables, bridge and forwarding; a bridge to which somebody added a port stays. */
  async removeWhenUnused(): Promise<void> {
    const { leases, log } = this.#deps;
    if (leases.list().length > 0) return;
    for (const family of FAMILIES) await this.#leave(family);
    const bridge = await this.#ownBridge();
    if (bridge !== undefined) {
      const ports = (await portsOf(bridge)).map(({ name }) => name);
      if (ports.length === 0) await removeLink(bridge.name);
      else log.warn({ bridge: bridge.name, ports }, "the bridge stays, it has ports that are not podrt's");
    }
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
  async checkSubnets(): Promise<void> {
    await checkSubnets(this.settings, (await this.#ownBridge())?.index);
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

  /** This instance's tables, one a family. */
  async #tables(): Promise<FoundTable[]> {
    return (await findTables()).filter(({ name }) => name === this.#deps.config.table);
  }

  /** Takes back what a family needed; the table goes last, since its comment says what the machine was like. */
  async #leave(family: Family, present?: readonly FoundTable[]): Promise<void> {
    const { config, settings } = this.#deps;
    const table = (present ?? (await this.#tables())).find((one) => one.family === family);
    if (table !== undefined) recoverForwarding(settings, table);
    if (holdsForwarding(settings, family)) await restoreForwarding(settings, family, config.table);
    if (table !== undefined) await removeTable(table);
  }

  async #ownBridge(): Promise<Link | undefined> {
    const link = await findLink(this.settings.bridge);
    return link !== undefined && this.#isOwn(link) ? link : undefined;
  }

  #isOwn(link: Link): boolean {
    return isOwnBridge(link, this.settings);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { AlreadyExistsError, FailedPreconditionError, messageOf } from "../errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { Logger } from "../lib/logger.ts";
import { isPinned, unpinNamespace } from "../linux/namespace.ts";
import type { Attachment, NetworkStatus, PodNamespace, PodRequest } from "../network/attachment.ts";
import { newReleases, type Releases } from "../network/releases.ts";
import type { Table } from "../state/table.ts";
import type { AttachmentRecord } from "./attachment-record.ts";
import { addToNetwork, checkAttachment, collectGarbage, deleteFromNetwork } from "./chain.ts";
import type { NetworkConf } from "./conf.ts";
import { type Health, newHealth } from "./health.ts";
import { type ConfiguredNetwork, type NetworkDirectory, openNetworkDirectory } from "./network-directory.ts";
import type { PluginPlace } from "./plugin.ts";
import { capabilitiesOf, capabilityArguments, cniArguments } from "./pod-arguments.ts";

/** Name of a pod's interface, inside it. */
const INTERFACE = "eth0";
/** Setting that holds the subnets which the cluster gave out. */
const POD_CIDRS = "network.cni_pod_cidrs";
const GARBAGE_INTERVAL_MS = 60 * 60 * 1000;

export interface CniNetworkDeps {
  /** The directory with configurations; empty for none, ever. */
  readonly directory: string;
  /** Pods wait for a configuration: without one they cannot be attached. */
  readonly isRequired: boolean;
  readonly place: PluginPlace;
  readonly attachments: Table<AttachmentRecord>;
  readonly settings: Table<unknown>;
  readonly log: Pick<Logger, "info" | "warn">;
}

/** The network that the plugins of the machine make, where one is configured. */
export class CniNetwork {
  readonly #deps: CniNetworkDeps;
  readonly #directory: NetworkDirectory;
  readonly #lock = new KeyedLock();
  readonly #health: Health;
  readonly #releases: Releases;
  /** How many ADD, DEL and CHECK are under way: the specification wants none of them beside GC. */
  #active = 0;
  #collection: Promise<void> | undefined;
  #garbageTimer: ReturnType<typeof setTimeout> | undefined;
  /** Set while a collection waits for those. */
  #isCollectionDue = false;

  constructor(deps: CniNetworkDeps) {
    this.#deps = deps;
    this.#directory = openNetworkDirectory(deps.directory, (state) => this.#changed(state));
    this.#health = newHealth(deps.place);
    this.#releases = newReleases((sandboxId) => this.#release(sandboxId), deps.log);
  }

  /** True where there is a file of configuration, whether it is any good or not, or where there has to be one. */
  isConfigured(): boolean {
    return this.#deps.isRequired || this.#directory.read().isConfigured;
  }

  has(sandboxId: string): boolean {
    return this.#deps.attachments.get(sandboxId) !== undefined;
  }

  async status(): Promise<NetworkStatus> {
    const { network, problems } = this.#directory.read();
    const problem =
      network === undefined ? this.#noNetwork(problems) : await this.#health.problemOf(network.conf);
    if (problem === undefined) return { ready: true, reason: "", message: "" };
    return { ready: false, reason: "NetworkPluginNotReady", message: problem };
  }

  describe(): object {
    const { network, problems } = this.#directory.read();
    return {
      cniconfig: network ?? {},
      lastCNILoadStatus: problems.length === 0 ? "OK" : problems.join("; "),
    };
  }

  resultOf(sandboxId: string): object | undefined {
    return this.#deps.attachments.get(sandboxId)?.result;
  }

  checkRequest(request: PodRequest): void {
    cniArguments(request);
    capabilityArguments(request, []);
  }

  attach(request: PodRequest, { pin }: PodNamespace): Promise<Attachment> {
    const { attachments, place } = this.#deps;
    const { sandboxId } = request;
    return this.#lock.run(sandboxId, async () => {
      if (attachments.get(sandboxId) !== undefined) {
        throw new AlreadyExistsError(
          `sandbox ${sandboxId} is attached to the network already; detach it first`,
        );
      }
      const intent = this.#newRecord(request, pin);
      attachments.put(sandboxId, intent);
      const { result, addresses } = await this.#besideGarbage(() => addToNetwork(place, intent, pin));
      attachments.put(sandboxId, { ...intent, result });
      return { addresses };
    });
  }

  /** Throws when DEL fails, which then is repeated until it succeeds. */
  async detach(sandboxId: string): Promise<void> {
    await this.#releases.now(sandboxId);
  }

  usePodCidrs(cidrs: readonly string[]): void {
    this.#deps.settings.put(POD_CIDRS, cidrs);
  }

  /** Gives back what belongs to no sandbox; that takes its time, and nobody waits for it. */
  reconcile(liveSandboxIds: ReadonlySet<string>): void {
    const { attachments, log } = this.#deps;
    const kept: AttachmentRecord[] = [];
    for (const record of attachments.list()) {
      const { sandboxId } = record;
      if (liveSandboxIds.has(sandboxId) && !record.isReleasing) kept.push(record);
      else {
        log.info({ sandboxId }, "giving back what a sandbox had of its network");
        this.#releases.later(sandboxId);
      }
    }
    void this.#checkAll(kept);
    // Where there has been a network all the time, nothing has changed that would bring this about.
    this.#directory.read();
  }

  #newRecord(request: PodRequest, netns: string): AttachmentRecord {
    const { settings, log } = this.#deps;
    const { sandboxId } = request;
    const { network, problems } = this.#directory.read();
    if (network === undefined) throw new FailedPreconditionError(this.#noNetwork(problems));
    const { conf } = network;
    const podCidrs = (settings.get(POD_CIDRS) as readonly string[] | undefined) ?? [];
    const offered = Object.entries(capabilityArguments(request, podCidrs));
    const wanted = capabilitiesOf(conf);
    for (const name of ["portMappings", "bandwidth"]) {
      // Some networks see to these by themselves, so it is not for podrt to refuse the pod.
      if (!wanted.has(name) && offered.some(([offer]) => offer === name))
        log.warn({ sandboxId, network: conf.name }, `no plugin has asked to be told of the pod's ${name}`);
    }
    return {
      sandboxId,
      interfaceName: INTERFACE,
      network: conf,
      arguments: cniArguments(request),
      capabilities: Object.fromEntries(offered.filter(([name]) => wanted.has(name))),
      netns,
      isReleasing: false,
    };
  }

  #noNetwork(problems: readonly string[]): string {
    if (problems.length > 0) return `no CNI configuration can be used: ${problems.join("; ")}`;
    return `there is no CNI configuration in ${this.#deps.directory}; install a network for the cluster`;
  }

  #release(sandboxId: string): Promise<void> {
    const { attachments, place } = this.#deps;
    return this.#lock.run(sandboxId, async () => {
      const record = attachments.get(sandboxId);
      if (record === undefined) return;
      const { netns } = record;
      if (!record.isReleasing) attachments.put(sandboxId, { ...record, isReleasing: true });
      await this.#besideGarbage(() => deleteFromNetwork(place, record, isPinned(netns) ? netns : ""));
      unpinNamespace(netns);
      attachments.delete(sandboxId);
    });
  }

  /** Whether pods that were attached before this daemon started are as they should be. */
  async #checkAll(records: readonly AttachmentRecord[]): Promise<void> {
    const { attachments, place, log } = this.#deps;
    for (const { sandboxId } of records) {
      await this.#lock.run(sandboxId, async () => {
        const record = attachments.get(sandboxId);
        if (record === undefined || record.isReleasing || !isPinned(record.netns)) return;
        try {
          await this.#besideGarbage(() => checkAttachment(place, record, record.netns));
        } catch (error) {
          log.warn({ sandboxId, error: messageOf(error) }, "a pod's network is not as it was made");
        }
      });
    }
  }

  #changed({ network, problems }: ConfiguredNetwork): void {
    const { log, directory } = this.#deps;
    for (const problem of problems) log.warn({ directory }, `CNI configuration is left aside: ${problem}`);
    if (network === undefined) return;
    const { file, conf } = network;
    log.info(
      { file, network: conf.name, cniVersion: conf.cniVersion },
      "new pods get their network from plugins",
    );
    this.#collectIn(0);
  }

  #collectIn(delayMs: number): void {
    clearTimeout(this.#garbageTimer);
    this.#garbageTimer = setTimeout(() => void this.#collect(), delayMs);
    this.#garbageTimer.unref();
  }

  async #collect(): Promise<void> {
    this.#isCollectionDue = this.#active > 0 || this.#collection !== undefined;
    if (this.#isCollectionDue) return;
    const { network } = this.#directory.read();
    if (network !== undefined) {
      this.#collection = this.#collectGarbageOf(network.conf);
      await this.#collection;
      this.#collection = undefined;
    }
    this.#collectIn(this.#isCollectionDue ? 0 : GARBAGE_INTERVAL_MS);
  }

  async #collectGarbageOf(conf: NetworkConf): Promise<void> {
    const { attachments, place, log } = this.#deps;
    const valid = attachments.list().filter(({ network }) => network.name === conf.name);
    await collectGarbage(place, conf, valid).catch((error) =>
      log.warn({ error: messageOf(error) }, "what lost pods have left in the network was not collected"),
    );
  }

  async #besideGarbage<T>(work: () => Promise<T>): Promise<T> {
    while (this.#collection !== undefined) await this.#collection;
    this.#active++;
    try {
      return await work();
    } finally {
      this.#active--;
      if (this.#active === 0 && this.#isCollectionDue) this.#collectIn(0);
    }
  }
}

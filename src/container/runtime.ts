// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import type { NameServer } from "../dns/name-server.ts";
import { NotFoundError } from "../errors.ts";
import type { ContentStore } from "../image/content-store.ts";
import type { Images } from "../image/images.ts";
import type { ChildExit } from "../launch/journal.ts";
import type { Monitor } from "../launch/monitor.ts";
import type { UserNamespaceSupport } from "../launch/user-namespace-probe.ts";
import type { KeyedLock } from "../lib/keyed-lock.ts";
import type { Logger } from "../lib/logger.ts";
import type { CapabilityName } from "../linux/capability.ts";
import type { CgroupHost } from "../linux/cgroup/host.ts";
import type { PodNetwork } from "../network/attachment.ts";
import type { Paths } from "../paths.ts";
import type { Snapshot, Snapshotter } from "../snapshot/snapshotter.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { Damage } from "../state/damage.ts";
import type { IndexedTable } from "../state/indexed-table.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import type { Table } from "../state/table.ts";
import type { Systemd } from "../systemd/manager.ts";
import type { Events } from "./events.ts";
import type { LiveContainer } from "./live.ts";
import type { LifecyclePlugins } from "./plugins.ts";
import type { SecurityModules } from "./security/security-modules.ts";

/** Everything the lifecycles of sandboxes and containers work with; one per daemon. */
export interface Runtime {
  readonly paths: Paths;
  readonly config: Config;
  readonly sandboxes: Table<SandboxRecord>;
  readonly containers: IndexedTable<ContainerRecord>;
  readonly images: Images;
  /** Blobs by digest; imports write to it. */
  readonly content: ContentStore;
  /** Layers, and what containers write above them. */
  readonly snapshotter: Snapshotter;
  /** What gives pods addresses and host ports. */
  readonly network: PodNetwork;
  /** What tells pods from manifests the names of each other. */
  readonly nameServer: NameServer;
  readonly cgroups: CgroupHost;
  /** Makes and ends the scopes of pods, where their cgroups are such. */
  readonly systemd: Systemd;
  /** What happened to sandboxes and containers, for whoever subscribes. */
  readonly events: Events;
  /** Who hears of each step before it is done, and may change it. */
  readonly plugins: LifecyclePlugins;
  /** Held under a sandbox's or container's id while its state changes. */
  readonly locks: KeyedLock;
  /** By sandbox id: the monitors this daemon is connected to. */
  readonly monitors: Map<string, Monitor>;
  /** By container id: what only this daemon process has of a container, such as descriptors. */
  readonly live: Map<string, LiveContainer>;
  /** By launch tag: who waits for the end of an exec, or of a criu that restores. */
  readonly execs: Map<number, (exit: ChildExit) => void>;
  /** Of the boot that the machine is in: records of another are of processes that are gone. */
  readonly bootId: string;
  /** The machine's host name, which pods without one of their own take. */
  readonly hostname: string;
  /** What the daemon itself may do; no container gets more. */
  readonly capabilities: ReadonlySet<CapabilityName>;
  /** What confines processes beyond the namespaces, as this machine has it. */
  readonly securityModules: SecurityModules;
  /** Whether pods can have user namespaces here, as tried at the start, and why not. */
  readonly userNamespaces: UserNamespaceSupport;
  /** What was found damaged on disk. */
  readonly damage: Damage;
  readonly log: Logger;
}

/** A clock further back than this was set back: it is followed, since figures are divided by times. */
const SET_BACK_NS = 1_000_000_000n;
let lastNs = 0n;

/** Now, as records keep it: nanoseconds since 1970, in decimal; never the same twice in a row, for ordering. */
export function nowNs(): string {
  const now = BigInt(Date.now()) * 1_000_000n;
  lastNs = now > lastNs || now < lastNs - SET_BACK_NS ? now : lastNs + 1n;
  return String(lastNs);
}

/** The containers of a sandbox. */
export function containersOf(runtime: Runtime, sandboxId: string): ContainerRecord[] {
  return runtime.containers.of(sandboxId);
}

/** The writable layer of a container, above its image's. */
export function snapshotOf(runtime: Runtime, { id }: ContainerRecord): Snapshot {
  const snapshot = runtime.snapshotter.get(id);
  if (snapshot === undefined) throw new NotFoundError(`the snapshot of container ${id} is gone`);
  return snapshot;
}

/** The image that a container was made from, and those that are mounted in it. */
export function imagesOf({ imageId, imageVolumes = [] }: ContainerRecord): string[] {
  return [imageId, ...imageVolumes.map((volume) => volume.imageId)];
}

/** The images that containers and pauses use: their layers are needed even when the image is removed. */
export function imagesInUse({
  containers,
  sandboxes,
}: Pick<Runtime, "containers" | "sandboxes">): Set<string> {
  const ofSandboxes = sandboxes.list().flatMap(({ image }) => (image === undefined ? [] : [image.id]));
  return new Set([...containers.list().flatMap(imagesOf), ...ofSandboxes]);
}

/** The last container or pause of an image that was removed meanwhile lets go of its layers. */
export function collectImages(runtime: Runtime, imageIds: readonly string[]): void {
  const removed = imageIds.filter((id) => runtime.images.find(id) === undefined);
  if (removed.length === 0) return;
  const inUse = imagesInUse(runtime);
  if (removed.every((id) => inUse.has(id))) return;
  void runtime.images
    .collect(() => imagesInUse(runtime))
    .catch((err) =>
      runtime.log.warn({ err, images: removed }, "the layers of a removed image were not collected"),
    );
}

/** Replaces some fields of a stored record and answers the new one. */
export function updateContainer(
  runtime: Runtime,
  record: ContainerRecord,
  changes: Partial<ContainerRecord>,
): ContainerRecord {
  const updated = { ...record, ...changes };
  runtime.containers.put(record.id, updated);
  return updated;
}

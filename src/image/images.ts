// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { nodeOf } from "../gc/collect.ts";
import { waitAtMost } from "../lib/deadline.ts";
import { logger } from "../lib/logger.ts";
import { type Descriptor, hostPlatform } from "../oci/manifest.ts";
import { formatReference, parseReference, type Reference, repositoryOf } from "../oci/reference.ts";
import type { Paths } from "../paths.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Damage } from "../state/damage.ts";
import type { Table } from "../state/table.ts";
import { pulls as pullCount, pullDuration } from "../telemetry/daemon-families.ts";
import { type BlobFate, createCollector, SWEEP_WAIT_MS } from "./collector.ts";
import { type ImagePlan, nodesOf, planImage, requirePresent, unpackLayer } from "./commit.ts";
import type { ContentStore } from "./content-store.ts";
import { type FreedBytes, freedBytes, type NodeSize } from "./freed-bytes.ts";
import { type ImageChange, newImageChanges } from "./image-changes.ts";
import { type ImageNames, type ImageRecord, openImageRecords } from "./image-records.ts";
import { type ImagePreview, previewImage } from "./preview.ts";
import { createPuller } from "./pull.ts";
import { abortError, imageError } from "./pull-error.ts";
import type { ProgressTracker, PullProgress } from "./pull-progress.ts";
import { newRecentUse } from "./recent-use.ts";
import { credentialsFor, fingerprintOf, type RegistryAuth } from "./registry-auth.ts";
import { type FlightContext, SingleFlight } from "./single-flight.ts";
import { takeOutDamage, takeOutLayers } from "./take-out-damage.ts";
import type { Unpacker } from "./unpack.ts";
import { unpackInOrder } from "./unpack-ahead.ts";

export type { ImageNames, ImageRecord } from "./image-records.ts";

export interface PullOptions {
  readonly auth?: RegistryAuth | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

/** Who follows the layers of an image that is committed. */
export type UnpackProgress = Pick<ProgressTracker, "unpacking" | "unpacked">;

export interface CommitOptions {
  readonly progress?: UnpackProgress | undefined;
  /** For each layer, from the bottom up: resolves when its blob is in the content store; left out where all are. */
  readonly arrivals?: readonly Promise<void>[];
}

export interface Images {
  /**
   * Makes the image of `reference` present and its name point to it. All who pull the same reference
   * with the same credentials at a time share the work. A failure leaves the store as it was and names
   * the reference, the host and the cause: NotFound, PermissionDenied, Unavailable (the message begins
   * with `RegistryUnavailable: `), FailedPrecondition for content that is not what was announced,
   * ResourceExhausted for a full disk; DeadlineExceeded or Canceled when `signal` ended it. An image that
   * was answered is there after a power loss; so it is with `commit`, and with `remove` it is not.
   */
  pull(reference: string, options?: PullOptions): Promise<ImageRecord>;
  /** What `pull` would bring, as the registry has it now; fails as that does, and changes nothing. */
  preview(reference: string, options: Pick<PullOptions, "auth" | "signal">): Promise<ImagePreview>;
  /**
   * By tag or digest in any spelling, by id with or without `sha256:`, or by the beginning of an id.
   * Undefined when there is none, also for what is no reference at all; InvalidArgumentError for a
   * beginning that several ids share.
   */
  find(reference: string): ImageRecord | undefined;
  list(): ImageRecord[];
  /** Says that somebody has found the image and may make something of it soon, as a pull of it says too. */
  noteWanted(id: string): void;
  /** How long nobody has asked for an image: see RecentUse. */
  idleMs(image: ImageRecord): number;
  /**
   * Removes the image with all its names, whichever was given; absent is fine. Its blobs and layers, unless others have
   * them, are gone by then, or soon after where that takes more than a second; what they took on disk is freed after
   * that: see `settled`.
   */
  remove(reference: string): Promise<void>;
  /**
   * Records an image whose documents are in the content store under `names`, unpacking its layers; the
   * part for this platform where `manifestDigest` is an index.
   */
  commit(manifestDigest: string, names: ImageNames, options?: CommitOptions): Promise<ImageRecord>;
  /** Runs `work` (an import) while nothing is collected: what it ingests belongs to no image yet. */
  hold<T>(work: () => Promise<T>): Promise<T>;
  /** What the removal of these images (ids) would free, one after the other; nothing for one that is not there. */
  freedBy(imageIds: readonly string[]): FreedBytes[];
  /** Resolves when what was removed so far is off the disk; after a second at the latest. */
  settled(): Promise<void>;
  /** What blobs and layers take on disk, once `settled`; those that are still being deleted too. */
  usage(): Promise<{ mountpoint: string; usedBytes: number; inodesUsed: number }>;
  /** Looks at everything on disk; an image that is damaged is taken out of sight, so that it is pulled again. */
  verify(): Promise<void>;
  /**
   * Removes the blobs and layers that neither an image has nor a container of a removed image. After a daemon was
   * killed blobs may be those of a pull that it had under way: they are set aside for the next.
   */
  collect(inUseImageIds: () => Set<string>, blobs?: BlobFate): Promise<void>;
  /** Calls `listener` for what becomes of images from now on; the answer ends that. */
  onChange(listener: (change: ImageChange) => void): () => void;
  /** The pulls that are under way now, each as it was last reported. */
  pulling(): PullProgress[];
}

export interface ImagesDeps {
  readonly paths: Paths;
  readonly config: Config;
  readonly table: Table<ImageRecord>;
  readonly content: ContentStore;
  readonly snapshotter: Snapshotter;
  readonly unpacker: Unpacker;
  /** Ids of the images that containers were made from: their layers survive the removal of the record. */
  readonly inUse: () => Set<string>;
  readonly damage: Damage;
}

/** Whoever has removed images to get room looks next how much there is: a kubelet evicts pods where that is too little. */
const FREEING_WAIT_MS = 1000;

/** Opens the images of one instance; those that have lost a layer (a power cut) are taken out of sight. */
export function openImages(deps: ImagesDeps): Images {
  const { content, snapshotter, damage } = deps;
  const platform = hostPlatform();
  const records = openImageRecords(deps.table, content.has);
  const collector = createCollector({ records, content, snapshotter, inUse: deps.inUse });
  const puller = createPuller({ ...deps, platform });
  const pulls = new SingleFlight<ImageRecord, PullProgress>();
  const changes = newImageChanges();
  const measure = createUsage(deps);
  const settled = () => waitAtMost(FREEING_WAIT_MS, collector.settled());
  const recent = newRecentUse();

  /** An image that has lost a layer cannot be run: it is out of sight until it is pulled again. */
  const hideBroken = () => {
    for (const record of records.list()) {
      if (record.layers.every(({ chainId }) => snapshotter.hasLayer(chainId))) continue;
      const sentence = `image ${nameOf(record)} has lost a layer and must be pulled or imported again`;
      records.remove(record.id);
      damage.note(`image ${record.id}`, sentence);
      changes.announce({ type: "lost", id: record.id, name: nameOf(record), message: sentence });
    }
  };
  const put = (plan: ImagePlan, names: ImageNames): ImageRecord => {
    const record = records.put(plan, names);
    recent.note(record.id);
    damage.heal(`image ${record.id}`);
    return record;
  };
  hideBroken();
  /** By their keys in `pulls`. */
  const underWay = new Map<string, PullProgress>();

  const pullOnce = (
    key: string,
    reference: Reference,
    auth: RegistryAuth | undefined,
    { signal, report: tell }: FlightContext<PullProgress>,
  ): Promise<ImageRecord> =>
    collector
      .leased(async (lease) => {
        const name = formatReference(reference);
        const report = (progress: PullProgress) => {
          underWay.set(key, progress);
          tell(progress);
        };
        const repository = repositoryOf(reference);
        const pull = puller.open({ reference, name, auth, signal, report, lease });
        if (records.find(name) !== undefined) {
          const digest = await pull.resolve();
          const record = records.find(name);
          const isCurrent = record?.repoDigests.includes(`${repository}@${digest}`);
          if (record !== undefined && isCurrent) {
            recent.note(record.id);
            if (await isWhole(record, deps)) return record;
          }
        }
        const plan = await pull.fetch();
        return put(plan, {
          repoTags: reference.tag === undefined ? [] : [name],
          repoDigests: [`${repository}@${plan.rootDigest}`],
        });
      }, "setAside")
      .finally(() => {
        underWay.delete(key);
        hideBroken();
      });

  /** However many wait for it, it is one change. */
  const pullAndAnnounce: typeof pullOnce = async (key, reference, auth, context) => {
    const name = formatReference(reference);
    try {
      const record = await pullOnce(key, reference, auth, context);
      changes.announce({ type: "pulled", id: record.id, name });
      return record;
    } catch (error) {
      const { signal } = context;
      const { kind, message } = imageError("pull", name, signal.aborted ? abortError(signal) : error);
      changes.announce({ type: "failed", id: "", name, reason: kind, message });
      throw error;
    }
  };

  return {
    find: records.find,
    list: records.list,
    noteWanted: recent.note,
    idleMs: recent.idleMs,
    async pull(text, { auth, signal, onProgress } = {}) {
      const reference = parseReference(text);
      const name = formatReference(reference);
      const key = `${name} ${fingerprintOf(auth)}`;
      // Malformed credentials are the caller's mistake, not the registry's.
      credentialsFor(auth, reference.host);
      const startedAtMs = performance.now();
      const count = (outcome: string) => {
        pullCount.add(1, { outcome });
        pullDuration.observe((performance.now() - startedAtMs) / 1000);
      };
      try {
        const pullShared = (context: FlightContext<PullProgress>) =>
          pullAndAnnounce(key, reference, auth, context);
        const record = await pulls.run(key, pullShared, { signal, onProgress });
        await deps.table.sync();
        count("OK");
        return record;
      } catch (error) {
        const failure = imageError("pull", name, signal?.aborted ? abortError(signal) : error);
        count(failure.kind);
        throw failure;
      }
    },
    async preview(text, { auth, signal = new AbortController().signal }) {
      const reference = parseReference(text);
      try {
        return await previewImage({ ...deps, platform }, reference, auth, signal);
      } catch (error) {
        const cause = signal.aborted ? abortError(signal) : error;
        throw imageError("look up", formatReference(reference), cause);
      }
    },
    async remove(text) {
      const record = records.find(text);
      if (record === undefined) return;
      records.remove(record.id);
      try {
        await deps.table.sync();
      } catch (error) {
        // A removal that may not survive a power loss has not happened: whoever repeats it finds the image.
        records.putBack(record);
        throw error;
      }
      changes.announce({ type: "removed", id: record.id, name: nameOf(record) });
      await collector.sweepSoon(SWEEP_WAIT_MS);
    },
    commit: (manifestDigest, names, { progress, arrivals = [] } = {}) =>
      collector.leased(async (lease) => {
        const recorded = normalNames(names);
        await lease.hold([nodeOf("blob", manifestDigest)]);
        const isThere = requirePresent(content);
        const plan = await planImage(content, { digest: manifestDigest }, platform, isThere);
        await lease.hold(nodesOf(plan));
        await takeOutLayers(plan.layers, snapshotter);
        let below: Promise<void> | undefined;
        const start = (position: number) => {
          progress?.unpacking(position);
          below = unpackLayer(deps, plan.layers, position, undefined, below);
          return below.then(() => progress?.unpacked(position));
        };
        const arrived = async (position: number) => {
          await arrivals[position];
          await isThere(plan.layerBlobs[position] as Descriptor, "layer");
        };
        await unpackInOrder(plan.layers.length, arrived, start);
        const record = put(plan, recorded);
        await deps.table.sync();
        changes.announce({ type: "imported", id: record.id, name: recorded.repoTags[0] ?? nameOf(record) });
        return record;
      }),
    hold: collector.hold,
    freedBy: (imageIds) =>
      freedBytes(
        imageIds.map((id) => nodeOf("image", id)),
        records,
        nodeSizes(deps),
      ),
    settled,
    async usage() {
      await settled();
      return measure();
    },
    async verify() {
      for (const { id } of records.list()) {
        // It may have been removed since.
        const record = records.find(id);
        if (record === undefined) continue;
        const problems = await takeOutDamage(record, deps);
        hideBroken();
        if (problems.length === 0 || records.find(id) === undefined) continue;
        const sentence = `image ${nameOf(record)} is damaged on disk, which the next pull of it mends: ${problems.join("; ")}`;
        damage.note(`image ${id}`, sentence);
      }
      await deps.table.sync();
    },
    collect: (inUseImageIds, blobs = "remove") => collector.sweep(inUseImageIds, { blobs }),
    onChange: changes.subscribe,
    pulling: () => [...underWay.values()],
  };
}

async function isWhole(record: ImageRecord, deps: ImagesDeps): Promise<boolean> {
  const problems = await takeOutDamage(record, deps);
  for (const problem of problems) logger.error({ image: record.id }, `${problem}; it is fetched again`);
  return problems.length === 0 && record.layers.every(({ chainId }) => deps.snapshotter.hasLayer(chainId));
}

function nameOf({ id, repoTags, repoDigests }: ImageRecord): string {
  return repoTags[0] ?? repoDigests[0] ?? id;
}

/** Names from an archive are as untrusted as the rest of it: each must be a well-formed reference. */
function normalNames({ repoTags, repoDigests }: ImageNames): ImageNames {
  const normal = (names: readonly string[], field: string) =>
    names.map((name, position) => formatReference(parseReference(name, `${field}.${position}`)));
  return { repoTags: normal(repoTags, "repoTags"), repoDigests: normal(repoDigests, "repoDigests") };
}

function nodeSizes({ content, snapshotter }: ImagesDeps): NodeSize {
  return (node) => {
    const [kind, key = ""] = node.split(" ");
    if (kind === "blob" && content.has(key)) return { kind, bytes: content.sizeBytes(key) };
    if (kind === "layer" && snapshotter.hasLayer(key)) return { kind, bytes: snapshotter.layerSize(key) };
    return undefined;
  };
}

/** Sums what is on disk; a blob's size never changes, so each is looked at once. */
function createUsage({ content, snapshotter, paths }: ImagesDeps): Images["usage"] {
  const sizes = new Map<string, number>();
  return async () => {
    const { usedBytes, inodesUsed } = await snapshotter.usage();
    const digests = new Set(content.list());
    for (const digest of sizes.keys()) if (!digests.has(digest)) sizes.delete(digest);
    for (const digest of digests) {
      if (!sizes.has(digest) && content.has(digest)) sizes.set(digest, content.sizeBytes(digest));
    }
    const blobs = [...sizes.values(), ...content.going()];
    return {
      mountpoint: paths.stateDir,
      usedBytes: usedBytes + blobs.reduce((sum, size) => sum + size, 0),
      inodesUsed: inodesUsed + blobs.length,
    };
  };
}

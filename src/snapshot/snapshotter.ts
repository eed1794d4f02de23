// SPDX-License-Identifier: Apache-2.0

/**
 * Root file systems from layers.
 *
 * - A **layer** is one unpacked image layer on top of those below it, named by its chain id (the digest
 *   over the diff ids from the bottom up to it, OCI image-spec config.md "Layer ChainID"). Once
 *   committed it never changes.
 * - A **snapshot** is what one container writes: named by a key (the container's id), stacked on layers.
 * - A **common layer** is what snapshots on the same layers have above those in common. It belongs to no image, and
 *   goes with the layers that it stands on.
 *
 * A snapshotter keeps directories and knows how they stack. It mounts nothing: the launcher does that
 * with the directories of a `Snapshot`.
 */
export interface Snapshotter {
  /**
   * Makes the layer `chainId` from what `apply` writes to the empty directory it is given. All or
   * nothing: the layer appears when its content is on disk, synced, and nothing is left where `apply` fails.
   * Does nothing when the layer exists; callers at the same time share one application.
   */
  commitLayer(chainId: string, apply: (directory: string) => Promise<LayerUsage>): Promise<void>;
  hasLayer(chainId: string): boolean;
  /**
   * Looks for damage done to a layer's directory since it was committed: names that are missing or new, other types,
   * modes, owners, sizes or times. One that was found intact is looked through again after ten minutes at the
   * earliest, but for its directory being there. Answers what is wrong, in words; undefined for an intact layer and for an unknown one.
   */
  checkLayer(chainId: string): Promise<string | undefined>;
  /** Takes a damaged layer out of use, so that it can be committed anew. Snapshots on it keep its directory. */
  discardLayer(chainId: string): Promise<void>;
  /** Bytes that an existing layer takes on disk; NotFoundError for an unknown one. */
  layerSize(chainId: string): number;
  /** The directories of layers, in the order given; NotFoundError names a missing one. */
  layerDirs(chainIds: readonly string[]): string[];
  /**
   * Makes the snapshot `key` on `layers` (chain ids, bottom first), or finds it as it is.
   * NotFoundError for a missing layer, AlreadyExistsError when the key stands on other layers. A new one stands on
   * `common` as well where that was asked for before, unless it cannot be made, or the layers have many such already.
   */
  prepare(key: string, layers: readonly string[], common?: CommonLayer): Promise<Snapshot>;
  get(key: string): Snapshot | undefined;
  /** Deletes a snapshot and what was written to it; an unknown key is fine. It must not be mounted. */
  remove(key: string): Promise<void>;
  /**
   * Takes a layer away; an unknown one is fine. FailedPreconditionError while a snapshot stands on it. It can be
   * committed anew when this has resolved, while the directory of the former one is being deleted: `freed` resolves
   * after that, and rejects where it could not be done for now.
   */
  removeLayer(chainId: string): Promise<{ readonly freed: Promise<void> }>;
  listLayers(): string[];
  listSnapshots(): string[];
  /** What all layers take on disk, common ones of images that are there and layers that are being deleted too; from memory. */
  usage(): Promise<DiskUsage>;
  /**
   * Measures what has been written to a snapshot, which takes long where that is much; callers at the same time
   * share it. NotFoundError for an unknown key; half a minute is the most it may take.
   */
  snapshotUsage(key: string): Promise<DiskUsage>;
  /** Ends the threads that delete and measure; work under way is waited for. */
  close(): Promise<void>;
}

export interface Snapshot {
  readonly key: string;
  /** Directories of the layers, TOP first, as overlayfs's `lowerdir` wants them; the common layer is one of them. */
  readonly lowerDirs: readonly string[];
  readonly upperDir: string;
  readonly workDir: string;
  /** The common layer's. */
  readonly commonDir: string | undefined;
}

/** What snapshots on the same layers that ask for the same `name` share: the second of them has it made. */
export interface CommonLayer {
  readonly name: string;
  /** Writes it to an overlay of these directories, of which nothing may be mounted any more afterwards. */
  make(overlay: Pick<Snapshot, "lowerDirs" | "upperDir" | "workDir">): void;
}

/** What a layer was found to take when it was unpacked. */
export interface LayerUsage {
  readonly sizeBytes: number;
  readonly inodes: number;
}

export interface DiskUsage {
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

/** What is kept of a layer, under its chain id, in the state table `layers`. */
export interface LayerRecord {
  /** Name of its directory below the layers directory; short, since overlayfs mount options are bounded. */
  readonly directory: string;
  readonly sizeBytes: number;
  readonly inodes: number;
  readonly createdAtNs: string;
  /** Of its directory, see linux/tree-summary.ts; absent from layers of an earlier podrt, which are not checked. */
  readonly summary?: string;
}

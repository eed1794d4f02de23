// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import {
  AlreadyExistsError,
  FailedPreconditionError,
  InvalidArgumentError,
  messageOf,
  NotFoundError,
} from "../errors.ts";
import { storageError } from "../lib/storage-error.ts";
import { twice } from "../lib/twice.ts";
import { spreadTrees } from "../linux/inode-flags.ts";
import { type Paths, upperDirectory } from "../paths.ts";
import type { Table } from "../state/table.ts";
import { type CommonLayers, newCommonLayers } from "./common-layers.ts";
import {
  isDirectory,
  readSnapshots,
  type StoredSnapshot,
  UNFINISHED_PREFIX,
  writeSnapshot,
} from "./snapshot-directory.ts";
import type {
  CommonLayer,
  DiskUsage,
  LayerRecord,
  LayerUsage,
  Snapshot,
  Snapshotter,
} from "./snapshotter.ts";
import { startTreeKeeper, type TreeKeeper } from "./tree-keeper.ts";

export interface OverlayDeps {
  readonly paths: Pick<Paths, "layersDir" | "containersDir">;
  /** Layers by chain id. */
  readonly layers: Table<LayerRecord>;
}

/** Under this name a directory waits for its deletion, at the next start at the latest. */
const DOOMED_PREFIX = ".gone-";
const DIRECTORY_MODE = 0o755;
/** A layer that was found intact is taken to be so for this long: looking through a large one takes a second. */
const LOOK_INTERVAL_MS = 600_000;
const KEY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/;

/**
 * Layers as directories of overlayfs lower layers, `layersDir/NUMBER`, and snapshots as
 * `containersDir/KEY/{upper,work}`. A layer exists when its row does; a snapshot, when its directory
 * has its final name.
 */
export function openOverlaySnapshotter({ paths, layers }: OverlayDeps): Snapshotter {
  const { layersDir, containersDir } = paths;
  const trees = startTreeKeeper();
  mkdirSync(layersDir, { recursive: true, mode: 0o700 });
  mkdirSync(containersDir, { recursive: true, mode: 0o700 });
  spreadTrees(layersDir);
  spreadTrees(containersDir);
  let nextNumber = firstFreeNumber([layersDir, containersDir]);
  sweep(containersDir, isTemporary, trees);
  const snapshots = withDirectories(readSnapshots(containersDir), layers);
  settleLayers(layersDir, layers, snapshots, trees);
  /** When layers were last found intact, by performance.now(). */
  const lookedAtMs = new Map<string, number>();
  const commits = new Map<string, Promise<void>>();
  const measurements = new Map<string, Promise<DiskUsage>>();

  const common = newCommonLayers(
    layersDir,
    () => nextNumber++,
    (name) => void deleteDirectory(layersDir, name).catch(() => {}),
  );
  /** Directories whose deletion has failed twice, with their parents: they are tried again with the next one. */
  const undeleted = new Map<string, string>();
  /** What was a layer and still takes room, by its directory. */
  const going = new Map<string, LayerRecord>();

  async function deleteDirectory(parent: string, name: string): Promise<void> {
    try {
      await twice(() => trees.remove(parent, name));
      going.delete(name);
    } catch (error) {
      undeleted.set(name, parent);
      throw error;
    }
  }

  async function deleteUndeleted(): Promise<void> {
    const earlier = [...undeleted];
    undeleted.clear();
    for (const [name, parent] of earlier) await deleteDirectory(parent, name).catch(() => {});
  }

  function recordOf(chainId: string): LayerRecord {
    const record = layers.get(chainId);
    if (record === undefined) {
      throw new NotFoundError(`layer ${chainId} is not unpacked; pull the image again`);
    }
    return record;
  }

  async function makeLayer(
    chainId: string,
    apply: (directory: string) => Promise<LayerUsage>,
  ): Promise<void> {
    const directory = String(nextNumber++);
    // By this name ext4 chooses where the tree lies: at another place than the last of the same number.
    const unfinishedName = `${UNFINISHED_PREFIX}${directory}-${randomBytes(6).toString("hex")}`;
    const unfinished = join(layersDir, unfinishedName);
    try {
      makeLayerDirectory(unfinished);
      const { sizeBytes, inodes } = await apply(unfinished);
      renameSync(unfinished, join(layersDir, directory));
      // Content and names: the row that follows promises both, also after a power loss.
      const [summary] = await allSettled([
        trees.summarize(join(layersDir, directory)),
        trees.sync(layersDir),
      ]);
      const createdAtNs = String(BigInt(Date.now()) * 1_000_000n);
      layers.put(chainId, { directory, sizeBytes, inodes, createdAtNs, summary });
    } catch (error) {
      const name = existsSync(unfinished) ? unfinishedName : directory;
      // Why the layer could not be made is the error to report.
      await deleteDirectory(layersDir, name).catch(() => {});
      throw error;
    }
  }

  function snapshotOf(key: string, stored: StoredSnapshot): Snapshot {
    const directory = join(containersDir, key);
    const lowerDirs = (stored.directories ?? []).map((name) => join(layersDir, name)).reverse();
    return {
      key,
      lowerDirs,
      upperDir: upperDirectory(paths, key),
      workDir: join(directory, "work"),
      commonDir: lowerDirs.length > stored.layers.length ? lowerDirs[0] : undefined,
    };
  }

  function makeSnapshot(key: string, stored: StoredSnapshot): Snapshot {
    const snapshot = snapshotOf(key, stored);
    const [top] = snapshot.lowerDirs;
    if (top === undefined) throw new InvalidArgumentError("layers", `snapshot ${key} stands on no layer`);
    const unfinished = `${UNFINISHED_PREFIX}${nextNumber++}-${key}`;
    try {
      writeSnapshot(join(containersDir, unfinished), stored, top);
      renameSync(join(containersDir, unfinished), join(containersDir, key));
    } catch (error) {
      sweep(containersDir, (name) => name === unfinished, trees);
      throw storageError(`make ${join(containersDir, key)}`, error);
    }
    snapshots.set(key, stored);
    return snapshot;
  }

  function newStack(chainIds: readonly string[], asked: CommonLayer | undefined): StoredSnapshot {
    const directories = chainIds.map((chainId) => recordOf(chainId).directory);
    const lowerDirs = directories.map((name) => join(layersDir, name)).reverse();
    const own = asked === undefined ? undefined : common.directory(asked, chainIds, lowerDirs);
    return { layers: [...chainIds], directories: own === undefined ? directories : [...directories, own] };
  }

  /** Deletes directories of layers that are no layers any more, unless a snapshot stands on them. */
  async function deleteUnowned(directories: readonly string[]): Promise<void> {
    const owned = ownedDirectories(layers, snapshots, common);
    for (const directory of directories) {
      if (!owned.has(directory)) await deleteDirectory(layersDir, directory);
    }
  }

  /** Without its row it is no layer any more, whatever becomes of the directory: the next start sees to it too. */
  async function deleteLayer({ directory }: LayerRecord, above: readonly string[]): Promise<void> {
    await deleteUndeleted();
    await Promise.all([directory, ...above].map((name) => deleteDirectory(layersDir, name)));
  }

  /** Gives a directory a name that no longer means anything; what is left to do is to delete it. */
  function doom(parent: string, name: string): string {
    const doomed = `${DOOMED_PREFIX}${nextNumber++}-${name}`;
    try {
      renameSync(join(parent, name), join(parent, doomed));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        throw storageError(`delete ${join(parent, name)}`, error);
      }
    }
    return doomed;
  }

  return {
    commitLayer(chainId, apply) {
      if (layers.get(chainId) !== undefined) return Promise.resolve();
      const running = commits.get(chainId);
      if (running !== undefined) return running;
      const commit = makeLayer(chainId, apply).finally(() => commits.delete(chainId));
      commits.set(chainId, commit);
      return commit;
    },
    hasLayer: (chainId) => layers.get(chainId) !== undefined,
    layerSize: (chainId) => recordOf(chainId).sizeBytes,
    layerDirs: (chainIds) => chainIds.map((chainId) => join(layersDir, recordOf(chainId).directory)),
    async prepare(key, chainIds, asked) {
      checkKey(key);
      const existing = snapshots.get(key);
      if (existing !== undefined && existing.layers.join() !== chainIds.join()) {
        throw new AlreadyExistsError(`snapshot ${key} exists and stands on other layers`);
      }
      return existing === undefined
        ? makeSnapshot(key, newStack(chainIds, asked))
        : snapshotOf(key, existing);
    },
    get(key) {
      const stored = snapshots.get(key);
      return stored?.directories === undefined ? undefined : snapshotOf(key, stored);
    },
    async remove(key) {
      await deleteUndeleted();
      const stored = snapshots.get(key);
      if (stored === undefined) return;
      const doomed = doom(containersDir, key);
      snapshots.delete(key);
      await deleteDirectory(containersDir, doomed);
      await deleteUnowned(stored.directories ?? []);
    },
    async removeLayer(chainId) {
      const record = layers.get(chainId);
      if (record === undefined) return { freed: Promise.resolve() };
      const user = [...snapshots].find(([, stored]) => stored.layers.includes(chainId));
      if (user !== undefined) {
        throw new FailedPreconditionError(`layer ${chainId} is in use by snapshot ${user[0]}`);
      }
      layers.delete(chainId);
      going.set(record.directory, record);
      lookedAtMs.delete(chainId);
      try {
        // A row that came back after a power loss would promise what had been deleted in part.
        await layers.sync();
      } catch (error) {
        // It is a layer as before, for the next attempt to find.
        going.delete(record.directory);
        layers.put(chainId, record);
        throw error;
      }
      return { freed: deleteLayer(record, common.forget(chainId)) };
    },
    async checkLayer(chainId) {
      const record = layers.get(chainId);
      if (record?.summary === undefined) return undefined;
      const path = join(layersDir, record.directory);
      if (!isDirectory(path)) return "its directory is gone";
      if (performance.now() - (lookedAtMs.get(chainId) ?? Number.NEGATIVE_INFINITY) < LOOK_INTERVAL_MS)
        return undefined;
      // What cannot be read for want of memory or descriptors can be a moment later; what is damaged cannot.
      const summary = await twice(() => trees.summarize(path)).catch(messageOf);
      if (summary === record.summary) lookedAtMs.set(chainId, performance.now());
      return summary === record.summary
        ? undefined
        : `${path} is not as it was unpacked (${summary} instead of ${record.summary})`;
    },
    async discardLayer(chainId) {
      const record = layers.get(chainId);
      if (record === undefined) return;
      layers.delete(chainId);
      lookedAtMs.delete(chainId);
      await layers.sync();
      await deleteUnowned([record.directory, ...common.forget(chainId)]);
    },
    listLayers: () => [...layers.keys()],
    listSnapshots: () => [...snapshots.keys()],
    async usage() {
      const records = [...layers.list(), ...going.values(), ...common.usage()];
      return {
        usedBytes: records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        inodesUsed: records.reduce((sum, { inodes }) => sum + inodes, 0),
      };
    },
    snapshotUsage(key) {
      if (!snapshots.has(key)) return Promise.reject(new NotFoundError(`snapshot ${key} does not exist`));
      const running = measurements.get(key);
      if (running !== undefined) return running;
      const measurement = trees.measure(upperDirectory(paths, key)).finally(() => {
        measurements.delete(key);
      });
      measurements.set(key, measurement);
      return measurement;
    },
    close: () => trees.close(),
  };
}

/**
 * Makes directories and rows agree after a restart: what was being made or deleted goes, and so does a
 * directory without a row, unless a container stands on it. A row whose directory is gone is dropped, so that the
 * layer is fetched anew.
 */
function settleLayers(
  layersDir: string,
  layers: Table<LayerRecord>,
  snapshots: ReadonlyMap<string, StoredSnapshot>,
  trees: TreeKeeper,
): void {
  for (const chainId of [...layers.keys()]) {
    const { directory } = layers.get(chainId) as LayerRecord;
    if (!isDirectory(join(layersDir, directory))) layers.delete(chainId);
  }
  const owned = ownedDirectories(layers, snapshots);
  sweep(layersDir, (name) => !owned.has(name), trees);
}

/** Snapshots of an earlier podrt do not say on which directories they stand: on those that the rows name. */
function withDirectories(
  snapshots: Map<string, StoredSnapshot>,
  layers: Table<LayerRecord>,
): Map<string, StoredSnapshot> {
  for (const [key, stored] of snapshots) {
    const records = stored.layers.map((chainId) => layers.get(chainId));
    const isWhole = records.length > 0 && records.every((record) => record !== undefined);
    if (stored.directories !== undefined || !isWhole) continue;
    snapshots.set(key, { ...stored, directories: records.map(({ directory }) => directory) });
  }
  return snapshots;
}

/** Directories that are layers, common ones too, or that a container stands on although the row is lost or another's. */
function ownedDirectories(
  layers: Table<LayerRecord>,
  snapshots: ReadonlyMap<string, StoredSnapshot>,
  common?: CommonLayers,
): Set<string> {
  const ofLayers = layers.list().map(({ directory }) => directory);
  const ofSnapshots = [...snapshots.values()].flatMap(({ directories = [] }) => directories);
  return new Set([...ofLayers, ...ofSnapshots, ...(common?.directories() ?? [])]);
}

/** The results of all, once none is under way any more; the first error where there is one. */
async function allSettled<A, B>(works: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(works);
  return Promise.all(works);
}

/** Numbers are never given out twice, so that a name being deleted is not met again. */
function firstFreeNumber(directories: readonly string[]): number {
  const names = directories.flatMap((directory) => readdirSync(directory));
  const numbers = names.map((name) =>
    Number(/^(?:\.(?:new|gone)-)?([0-9]{1,15})(?:-|$)/.exec(name)?.[1] ?? 0),
  );
  return numbers.reduce((highest, number) => Math.max(highest, number), 0) + 1;
}

function makeLayerDirectory(path: string): void {
  try {
    mkdirSync(path);
    chmodSync(path, DIRECTORY_MODE);
  } catch (error) {
    throw storageError(`make ${path}`, error);
  }
}

/** Starts to delete what `isDoomed` picks; what cannot be deleted is tried again at once, and at the next start. */
function sweep(directory: string, isDoomed: (name: string) => boolean, trees: TreeKeeper): void {
  for (const name of readdirSync(directory).filter(isDoomed)) {
    const remove = () => trees.remove(directory, name);
    remove()
      .catch(remove)
      .catch(() => {});
  }
}

function isTemporary(name: string): boolean {
  return name.startsWith(UNFINISHED_PREFIX) || name.startsWith(DOOMED_PREFIX);
}

function checkKey(key: string): void {
  if (!KEY_PATTERN.test(key)) {
    throw new InvalidArgumentError("", `${JSON.stringify(key)} cannot name a snapshot`);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { podKey } from "../kube/pod.ts";
import { namesIn } from "../lib/directory.ts";
import { type Measured, measureDirectory, measured, sumOf } from "./measure.ts";
import { podContainers, podFiles, podLogs, uidsOf } from "./reclaimable.ts";
import { isOver, type Pods, unusedImages } from "./used-images.ts";

/** What things of one kind take on disk. */
export interface UsageRow extends Measured {
  readonly kind: UsageKind;
  readonly count: number;
  /** Of those, what somebody needs. */
  readonly inUse: number;
  /** What `podrt gc --pods --volumes --min-age 0` would free. */
  readonly reclaimableBytes: number;
}

export type UsageKind =
  /** Blobs: what was pulled, compressed as it came. */
  | "images"
  /** Unpacked; what several images share is there once. */
  | "layers"
  /** What containers have written above them. */
  | "containers"
  /** emptyDir volumes and other files of kept pods; not those of tmpfs. */
  | "pod files"
  /** The directories of PersistentVolumeClaims. */
  | "volumes"
  | "logs"
  /** Under way, and of interrupted pulls. */
  | "downloads"
  /** Checkpoints and restores under way; those that are done are where their caller wanted them. */
  | "checkpoints"
  /** Put aside as damaged. */
  | "quarantine"
  | "database";

/** What the instance has on disk, by kind. It measures what changes, which takes a while where that is much. */
export async function diskUsage(runtime: Runtime, pods: Pods): Promise<UsageRow[]> {
  const { paths } = runtime;
  const kept = pods.list();
  const over = kept.filter(isOver);
  const inUse = kept.length - over.length;
  const ofPods = async (kind: UsageKind, count: number, part: typeof podFiles): Promise<UsageRow> => {
    const going: Measured[] = [];
    const staying: Measured[] = [];
    for (const status of kept) (isOver(status) ? going : staying).push(await part(runtime, status.pod));
    return { kind, count, inUse, ...sumOf([...going, ...staying]), reclaimableBytes: sumOf(going).bytes };
  };
  return [
    ...(await imageRows(runtime, pods, uidsOf(over))),
    await containerRow(runtime, uidsOf(over)),
    await ofPods("pod files", kept.length, podFiles),
    await volumeRow(pods, new Set(over.map(({ pod }) => podKey(pod)))),
    await ofPods("logs", kept.length, podLogs),
    await downloadRow(runtime),
    await directoryRow("checkpoints", paths.checkpointsDir),
    await directoryRow("quarantine", paths.quarantineDir),
    databaseRow(paths),
  ];
}

async function imageRows(runtime: Runtime, pods: Pods, gone: ReadonlySet<string>): Promise<UsageRow[]> {
  const { images, content, snapshotter } = runtime;
  await images.settled();
  const unused = unusedImages(runtime, pods, gone);
  const freed = images.freedBy(unused.map(({ id }) => id));
  const total = (of: "blobBytes" | "layerBytes" | "layers") => freed.reduce((sum, one) => sum + one[of], 0);
  const blobBytes = content.list().reduce((sum, digest) => sum + sizeOf(content.path(digest)), 0);
  const [count, layers] = [images.list().length, snapshotter.listLayers().length];
  const { usedBytes } = await snapshotter.usage();
  return [
    {
      kind: "images",
      count,
      inUse: count - unused.length,
      bytes: blobBytes,
      isWhole: true,
      reclaimableBytes: total("blobBytes"),
    },
    {
      kind: "layers",
      count: layers,
      inUse: layers - total("layers"),
      bytes: usedBytes,
      isWhole: true,
      reclaimableBytes: total("layerBytes"),
    },
  ];
}

async function containerRow(runtime: Runtime, gone: ReadonlySet<string>): Promise<UsageRow> {
  const all: Measured[] = [];
  for (const id of runtime.snapshotter.listSnapshots()) {
    all.push(await measured(runtime.snapshotter.snapshotUsage(id)));
  }
  const going: Measured[] = [];
  for (const uid of gone) going.push(await podContainers(runtime, { uid }));
  const containers = runtime.containers.list();
  return {
    kind: "containers",
    count: containers.length,
    inUse: containers.filter((record) => containerState(record) !== "exited").length,
    ...sumOf(all),
    reclaimableBytes: sumOf(going).bytes,
  };
}

/** `gone` are the keys of pods that are over. */
async function volumeRow(pods: Pods, gone: ReadonlySet<string>): Promise<UsageRow> {
  const volumes = pods.volumes();
  const free: Measured[] = [];
  const taken: Measured[] = [];
  for (const { path, pods: users } of volumes) {
    (users.every((user) => gone.has(user)) ? free : taken).push(await measureDirectory(path));
  }
  return {
    kind: "volumes",
    count: volumes.length,
    inUse: taken.length,
    ...sumOf([...free, ...taken]),
    reclaimableBytes: sumOf(free).bytes,
  };
}

async function downloadRow({ paths }: Runtime): Promise<UsageRow> {
  const [received, left] = [paths.ingestDir, paths.partialDir];
  const interrupted = await measureDirectory(left);
  const [under, over] = [namesIn(received).length, namesIn(left).length];
  return {
    kind: "downloads",
    count: under + over,
    inUse: under,
    ...sumOf([await measureDirectory(received), interrupted]),
    reclaimableBytes: over === 0 ? 0 : interrupted.bytes,
  };
}

async function directoryRow(kind: UsageKind, path: string): Promise<UsageRow> {
  const count = namesIn(path).length;
  return { kind, count, inUse: count, ...(await measureDirectory(path)), reclaimableBytes: 0 };
}

function databaseRow({ stateDir, database }: Runtime["paths"]): UsageRow {
  const name = database.slice(stateDir.length + 1);
  const files = namesIn(stateDir).filter((file) => file.startsWith(name));
  const bytes = files.reduce((sum, file) => sum + sizeOf(join(stateDir, file)), 0);
  return { kind: "database", count: 1, inUse: 1, bytes, isWhole: true, reclaimableBytes: 0 };
}

/** Nothing for what has just gone. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

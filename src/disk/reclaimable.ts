// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import type { ImageRecord } from "../image/images.ts";
import { type Pod, podFilesDir, podKey, podLogsDir } from "../kube/pod.ts";
import type { PodStatus } from "../kube/pod-status.ts";
import { namesIn } from "../lib/directory.ts";
import { type Measured, measureDirectory, measured, sumOf } from "./measure.ts";
import { isOver, type Pods, unusedImages } from "./used-images.ts";

/** Something that nobody needs. */
export interface Reclaimable {
  readonly kind: ReclaimableKind;
  /** Names it to `reclaim`. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly bytes: number;
}

const RECLAIMABLE_KINDS = ["pod", "image", "download", "volume"] as const;
export type ReclaimableKind = (typeof RECLAIMABLE_KINDS)[number];

/** What may go beside images and downloads. */
export interface ReclaimScope {
  /** Kept pods that are over, with their logs. */
  readonly pods: boolean;
  /** Volumes that no kept pod has, with all that is in them. */
  readonly volumes: boolean;
  /** Images that somebody has asked for less long ago stay: who pulled them may be about to use them. */
  readonly minAgeMs: number;
}

/** What could go, and how many images that nobody needs are too young for it. */
export interface Garbage {
  readonly items: readonly Reclaimable[];
  readonly youngImages: number;
}

/** All that could go, in the order in which it has to. Sizes add up: what several share is counted for the first. */
export async function listReclaimable(runtime: Runtime, pods: Pods, scope: ReclaimScope): Promise<Garbage> {
  const over = scope.pods ? pods.list().filter(isOver) : [];
  const found: Reclaimable[] = [];
  for (const { pod } of over) {
    const { bytes } = sumOf(await podParts(runtime, pod));
    found.push({ kind: "pod", id: podKey(pod), name: podKey(pod), bytes });
  }
  const all = unusedImages(runtime, pods, uidsOf(over));
  const unused = all.filter((image) => runtime.images.idleMs(image) >= scope.minAgeMs);
  const youngImages = all.length - unused.length;
  const freed = runtime.images.freedBy(unused.map(({ id }) => id));
  unused.forEach((image, index) => {
    const { blobBytes, layerBytes } = freed[index]!;
    found.push({ kind: "image", id: image.id, name: nameOf(image), bytes: blobBytes + layerBytes });
  });
  const count = namesIn(runtime.paths.partialDir).length;
  if (count > 0) {
    const { bytes } = await measureDirectory(runtime.paths.partialDir);
    found.push({ kind: "download", id: DOWNLOADS, name: `${count} of interrupted pulls`, bytes });
  }
  if (!scope.volumes) return { items: found, youngImages };
  const gone = new Set(over.map(({ pod }) => podKey(pod)));
  for (const { namespace, name, path, pods: users } of pods.volumes()) {
    if (users.some((user) => !gone.has(user))) continue;
    const { bytes } = await measureDirectory(path);
    found.push({ kind: "volume", id: `${namespace}/${name}`, name: `${namespace}/${name}`, bytes });
  }
  return { items: found, youngImages };
}

const DOWNLOADS = "interrupted";

/** What a kept pod has on disk: what its containers wrote, its files, its logs. */
async function podParts(runtime: Runtime, pod: Pod): Promise<Measured[]> {
  return [await podContainers(runtime, pod), await podFiles(runtime, pod), await podLogs(runtime, pod)];
}

export async function podContainers(runtime: Runtime, { uid }: Pick<Pod, "uid">): Promise<Measured> {
  const sandboxes = new Set(
    runtime.sandboxes.list().flatMap((sandbox) => (sandbox.uid === uid ? [sandbox.id] : [])),
  );
  const own = runtime.containers.list().filter(({ sandboxId }) => sandboxes.has(sandboxId));
  const found: Measured[] = [];
  for (const { id } of own) found.push(await measured(runtime.snapshotter.snapshotUsage(id)));
  return sumOf(found);
}

export function podFiles({ paths }: Pick<Runtime, "paths">, pod: Pod): Promise<Measured> {
  return measureDirectory(podFilesDir(paths, pod));
}

export function podLogs({ paths }: Pick<Runtime, "paths">, pod: Pod): Promise<Measured> {
  return measureDirectory(podLogsDir(paths, pod));
}

/** Removes one of them. FailedPreconditionError where it is needed by now, NotFoundError where it is gone. */
export async function reclaim(
  runtime: Runtime,
  pods: Pods,
  { kind, id }: Pick<Reclaimable, "id"> & { readonly kind: string },
  minAgeMs: number,
): Promise<void> {
  if (kind === "image") return await reclaimImage(runtime, pods, id, minAgeMs);
  if (kind === "pod") return await reclaimPod(pods, id);
  const [namespace = "", name = ""] = id.split("/");
  if (kind === "volume") return await pods.removeVolume(namespace, name);
  if (kind === "download" && id === DOWNLOADS) return await runtime.content.clearPartial();
  const known = RECLAIMABLE_KINDS.join(", ");
  throw new InvalidArgumentError(
    "kind",
    `${JSON.stringify(kind)} with id ${JSON.stringify(id)} is none of ${known}`,
  );
}

async function reclaimImage(runtime: Runtime, pods: Pods, id: string, minAgeMs: number): Promise<void> {
  const image = runtime.images.list().find((one) => one.id === id);
  if (image === undefined) throw new NotFoundError(`image ${id} is gone already`);
  if (!unusedImages(runtime, pods).some((unused) => unused.id === id)) {
    throw new FailedPreconditionError(`image ${nameOf(image)} is in use by now`);
  }
  if (runtime.images.idleMs(image) < minAgeMs) {
    throw new FailedPreconditionError(`image ${nameOf(image)} was asked for just now`);
  }
  await runtime.images.remove(id);
}

async function reclaimPod(pods: Pods, id: string): Promise<void> {
  const status = pods.list().find(({ pod }) => podKey(pod) === id);
  if (status === undefined) throw new NotFoundError(`pod ${id} is gone already`);
  if (!isOver(status)) throw new FailedPreconditionError(`pod ${id} is not over any more`);
  await pods.delete(status.pod.namespace, status.pod.name);
}

function nameOf({ id, repoTags, repoDigests }: ImageRecord): string {
  return repoTags[0] ?? repoDigests[0] ?? id;
}

export function uidsOf(pods: readonly PodStatus[]): Set<string> {
  return new Set(pods.map(({ pod }) => pod.uid));
}

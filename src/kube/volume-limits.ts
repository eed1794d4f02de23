// SPDX-License-Identifier: Apache-2.0
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { allContainers } from "./container-order.ts";
import type { ContainerView } from "./lifecycle.ts";
import { emptyDirPath, type Pod, type PodHome, podLogsDir } from "./pod.ts";

/** Past so many entries a volume is not looked through further: what was found so far counts. */
const MAX_ENTRIES = 200_000;

/** What of a pod is on disk besides its volumes. */
export interface PodDisk {
  readonly home: Pick<PodHome, "stateDir">;
  /** The containers of its sandbox. */
  readonly containers: readonly Pick<ContainerView, "id" | "name">[];
  /** The directory of what a container has written to its root. */
  readonly writableDirectory: (containerId: string) => string | undefined;
}

/**
 * Why the pod is to be ended for what it has written: an emptyDir on disk that takes more room than its sizeLimit, or
 * a container whose root and logs take more than its limit of ephemeral-storage, or all of these together than all of
 * the limits; undefined while none does. A volume in memory is bounded by its file system.
 */
export async function exceededLimit(pod: Pod, disk: PodDisk): Promise<string | undefined> {
  const limits = storageLimits(pod);
  const podLimit = [...limits.values()].reduce((sum, bytes) => sum + bytes, 0);
  let total = 0;
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    if (emptyDir === undefined || emptyDir.medium === "Memory") continue;
    const most = Math.max(emptyDir.sizeLimit ?? 0, podLimit);
    if (most === 0) continue;
    const bytes = await bytesBelow(emptyDirPath(disk.home, pod, name), most);
    if (bytes > (emptyDir.sizeLimit ?? Number.POSITIVE_INFINITY)) {
      return `the emptyDir volume ${name} takes more than its sizeLimit of ${emptyDir.sizeLimit} bytes`;
    }
    total += bytes;
  }
  if (podLimit === 0) return undefined;
  for (const { name } of allContainers(pod.spec)) {
    const written = disk.containers
      .filter((container) => container.name === name)
      .flatMap(({ id }) => disk.writableDirectory(id) ?? []);
    let bytes = 0;
    for (const directory of [...written, join(podLogsDir(disk.home, pod), name)]) {
      bytes += await bytesBelow(directory, podLimit);
    }
    const limit = limits.get(name);
    if (limit !== undefined && bytes > limit) {
      return `container ${name} takes more than its limit of ephemeral-storage, ${limit} bytes, with its root and its logs`;
    }
    total += bytes;
  }
  if (total <= podLimit) return undefined;
  return `the pod takes more than the ${podLimit} bytes of ephemeral-storage that its containers' limits add up to`;
}

export function hasLimits(pod: Pod): boolean {
  const isLimited = (pod.spec.volumes ?? []).some(
    ({ emptyDir }) => emptyDir?.sizeLimit !== undefined && emptyDir.medium !== "Memory",
  );
  return isLimited || storageLimits(pod).size > 0;
}

/** By container name, of those that have one. */
function storageLimits({ spec }: Pod): Map<string, number> {
  return new Map(
    allContainers(spec).flatMap(({ name, resources }) => {
      const limit = resources?.limits?.["ephemeral-storage"];
      return limit === undefined ? [] : [[name, limit] as const];
    }),
  );
}

/** Room on disk, counted until it is more than `limitBytes`; links are not followed. */
async function bytesBelow(directory: string, limitBytes: number): Promise<number> {
  const pending = [directory];
  let bytes = 0;
  let entries = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    // What its containers remove meanwhile takes no room.
    for (const entry of await readdir(next, { withFileTypes: true }).catch(() => [])) {
      const path = join(next, entry.name);
      const found = await lstat(path).catch(() => undefined);
      bytes += (found?.blocks ?? 0) * 512;
      if (bytes > limitBytes || ++entries > MAX_ENTRIES) return bytes;
      if (entry.isDirectory()) pending.push(path);
    }
  }
  return bytes;
}

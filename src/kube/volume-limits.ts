// SPDX-License-Identifier: Apache-2.0
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { emptyDirPath, type Pod, type PodHome } from "./pod.ts";

/** Past so many entries a volume is not looked through further: what was found so far counts. */
const MAX_ENTRIES = 200_000;

/**
 * Why the pod is to be ended for what its volumes hold: an emptyDir on disk that takes more room than its
 * sizeLimit; undefined while none does. One in memory is bounded by its file system.
 */
export async function exceededLimit(pod: Pod, home: PodHome): Promise<string | undefined> {
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    if (emptyDir?.sizeLimit === undefined || emptyDir.medium === "Memory") continue;
    const bytes = await bytesBelow(emptyDirPath(home, pod, name), emptyDir.sizeLimit);
    if (bytes <= emptyDir.sizeLimit) continue;
    return `the emptyDir volume ${name} takes more than its sizeLimit of ${emptyDir.sizeLimit} bytes`;
  }
  return undefined;
}

export function hasLimits({ spec }: Pod): boolean {
  return (spec.volumes ?? []).some(
    ({ emptyDir }) => emptyDir?.sizeLimit !== undefined && emptyDir.medium !== "Memory",
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

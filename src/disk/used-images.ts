// SPDX-License-Identifier: Apache-2.0
import { imagesInUse, type Runtime } from "../container/runtime.ts";
import type { ImageRecord } from "../image/images.ts";
import { isPinned } from "../image/pinned.ts";
import type { Keeper } from "../kube/keeper.ts";
import type { Pod } from "../kube/pod.ts";
import type { PodStatus } from "../kube/pod-status.ts";

/** What is asked of the pods' keeper here. */
export type Pods = Pick<Keeper, "list" | "volumes" | "delete" | "removeVolume" | "cronJobs">;

type Stores = Pick<Runtime, "containers" | "sandboxes" | "images" | "config">;

const OVER: ReadonlySet<PodStatus["phase"]> = new Set(["Succeeded", "Failed", "Stopped"]);

/** A kept pod of which nothing runs and nothing will: one of the manifest directory would come back. */
export function isOver({ phase, nextTryAtMs, pod }: PodStatus): boolean {
  return OVER.has(phase) && nextTryAtMs === 0 && pod.file === undefined;
}

/**
 * The images that nobody needs: no container or pause stands on them, no kept pod or CronJob asks for them, no pull that
 * is under way is of one of their names, and the configuration pins none of them. Pods of `gone` (uids) are taken for
 * removed.
 */
export function unusedImages(
  runtime: Stores,
  pods: Pick<Pods, "list" | "cronJobs">,
  gone: ReadonlySet<string> = new Set(),
): ImageRecord[] {
  const { containers, sandboxes, images, config } = runtime;
  const staying = sandboxes.list().filter(({ uid }) => !gone.has(uid));
  const ids = new Set(staying.map(({ id }) => id));
  const used = imagesInUse({
    sandboxes: { ...sandboxes, list: () => staying },
    containers: {
      ...containers,
      list: () => containers.list().filter(({ sandboxId }) => ids.has(sandboxId)),
    },
  });
  const kept = pods.list().filter(({ pod }) => !gone.has(pod.uid));
  const asking = [...kept.map(({ pod }) => pod), ...pods.cronJobs.list().map(({ job }) => job.pod)];
  const pulling = images.pulling().map(({ reference }) => reference);
  for (const reference of [...asking.flatMap(referencesOf), ...pulling]) {
    const image = images.find(reference);
    if (image !== undefined) used.add(image.id);
  }
  return images.list().filter((image) => !used.has(image.id) && !isPinned(image, config.image));
}

function referencesOf({ spec }: Pod): string[] {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const volumes = (spec.volumes ?? []).flatMap(({ image }) => image?.reference ?? []);
  return [...containers.map(({ image }) => image), ...volumes];
}

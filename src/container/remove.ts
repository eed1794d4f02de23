// SPDX-License-Identifier: Apache-2.0
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { closeLive } from "./live.ts";
import { launchTag } from "./records.ts";
import { beginRemoval } from "./removal.ts";
import { imagesInUse, imagesOf, type Runtime } from "./runtime.ts";
import { stopContainer } from "./stop.ts";

/** Removes a container in any state, killing it first where it runs; its log stays. Unknown ids are fine. */
export async function removeContainer(runtime: Runtime, id: string): Promise<void> {
  using _removal = beginRemoval(id);
  await stopContainer(runtime, id, 0);
  await runtime.locks.run(id, async () => {
    const record = runtime.containers.get(id);
    if (record === undefined) return;
    const live = runtime.live.get(id);
    if (live !== undefined) closeLive(live);
    runtime.live.delete(id);
    await openCgroup(runtime.cgroups, record.cgroupPath).remove();
    await runtime.snapshotter.remove(id);
    runtime.monitors.get(record.sandboxId)?.forget(launchTag(id));
    runtime.containers.delete(id);
    runtime.events.emit("deleted", id, record.sandboxId);
    collectImages(runtime, imagesOf(record));
  });
}

/** The last container of an image that was removed meanwhile lets go of its layers. */
function collectImages(runtime: Runtime, imageIds: readonly string[]): void {
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

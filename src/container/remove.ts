// SPDX-License-Identifier: Apache-2.0
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { closeLive } from "./live.ts";
import { removeBundle } from "./oci/handler.ts";
import { launchTag } from "./records.ts";
import { beginRemoval } from "./removal.ts";
import { collectImages, imagesOf, type Runtime, updateContainer } from "./runtime.ts";
import { stopContainer } from "./stop.ts";

/** Removes a container in any state, killing it first where it runs; its log stays. Unknown ids are fine. */
export async function removeContainer(runtime: Runtime, id: string): Promise<void> {
  noteSubject(id);
  using _removal = beginRemoval(id);
  await stopContainer(runtime, id, 0);
  enterPhase("lock");
  await runtime.locks.run(id, async () => {
    const record = runtime.containers.get(id);
    if (record === undefined) return;
    const live = runtime.live.get(id);
    if (live !== undefined) closeLive(live);
    runtime.live.delete(id);
    updateContainer(runtime, record, { isRemoving: true });
    enterPhase("cgroup");
    await openCgroup(runtime.cgroups, record.cgroupPath).remove();
    enterPhase("snapshot");
    await runtime.snapshotter.remove(id);
    removeBundle(runtime, record);
    runtime.monitors.get(record.sandboxId)?.forget(launchTag(id));
    await runtime.plugins.removeContainer(record);
    runtime.containers.delete(id);
    runtime.events.emit("deleted", id, record.sandboxId);
    collectImages(runtime, imagesOf(record));
  });
}

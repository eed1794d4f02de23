// SPDX-License-Identifier: Apache-2.0
import { removeContainer } from "../container/remove.ts";
import { collectImages, containersOf, type Runtime } from "../container/runtime.ts";
import { enterPhase, noteSubject } from "../lib/operation.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { podDir } from "../paths.ts";
import { removeFiles } from "./files.ts";
import { removePodCgroup } from "./pod-cgroup.ts";
import { stopSandbox } from "./stop.ts";

/** Removes a sandbox and all that belongs to it, stopping it first; an unknown id is fine. */
export async function removeSandbox(runtime: Runtime, id: string): Promise<void> {
  noteSubject(id);
  await stopSandbox(runtime, id);
  const stopped = runtime.sandboxes.get(id);
  if (stopped !== undefined) runtime.sandboxes.put(id, { ...stopped, isRemoving: true });
  for (const container of containersOf(runtime, id)) await removeContainer(runtime, container.id);
  await runtime.locks.run(id, async () => {
    const record = runtime.sandboxes.get(id);
    if (record === undefined) return;
    enterPhase("cgroup");
    await removePodCgroup(runtime, record);
    enterPhase("files");
    await runtime.snapshotter.remove(id);
    removeFiles(podDir(runtime.paths, id));
    await runtime.plugins.removePodSandbox(record);
    runtime.sandboxes.delete(id);
    runtime.events.emit("deleted", id, id, record);
    if (record.image !== undefined) collectImages(runtime, [record.image.id]);
    await removeTopCgroup(runtime);
  });
  // Once there are no pods the machine is as it was before the first, when the answer comes.
  if (runtime.sandboxes.list().length === 0) await runtime.network.settled();
}

/** The cgroup above all pods goes with the last of them. */
export async function removeTopCgroup(runtime: Runtime): Promise<void> {
  if (runtime.sandboxes.list().length > 0) return;
  const top = openCgroup(runtime.cgroups, runtime.config.cgroup.parent);
  await top.remove().catch((err) => runtime.log.debug({ err }, "the top cgroup is still in use"));
}

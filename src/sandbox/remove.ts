// SPDX-License-Identifier: Apache-2.0
import { dirname } from "node:path";
import { removeContainer } from "../container/remove.ts";
import { collectImages, containersOf, type Runtime } from "../container/runtime.ts";
import { enterPhase } from "../lib/operation.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { podDir } from "../paths.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { removeFiles } from "./files.ts";
import { stopSandbox } from "./stop.ts";

/** Removes a sandbox and all that belongs to it, stopping it first; an unknown id is fine. */
export async function removeSandbox(runtime: Runtime, id: string): Promise<void> {
  await stopSandbox(runtime, id);
  const stopped = runtime.sandboxes.get(id);
  if (stopped !== undefined) runtime.sandboxes.put(id, { ...stopped, isRemoving: true });
  for (const container of containersOf(runtime, id)) await removeContainer(runtime, container.id);
  await runtime.locks.run(id, async () => {
    const record = runtime.sandboxes.get(id);
    if (record === undefined) return;
    enterPhase("cgroup");
    await removeCgroups(runtime, record);
    enterPhase("files");
    await runtime.snapshotter.remove(id);
    removeFiles(podDir(runtime.paths, id));
    await runtime.plugins.removePodSandbox(record);
    runtime.sandboxes.delete(id);
    runtime.events.emit("deleted", id, id, record);
    if (record.image !== undefined) collectImages(runtime, [record.image.id]);
    await removeTopCgroup(runtime);
  });
}

/** Removes the pause's cgroup, and the pod's where podrt chose it. */
export async function removeCgroups(runtime: Runtime, record: SandboxRecord): Promise<void> {
  const path = record.ownsCgroupParent ? dirname(record.cgroupPath) : record.cgroupPath;
  await openCgroup(runtime.cgroups, path).remove();
}

/** The cgroup above all pods goes with the last of them. */
export async function removeTopCgroup(runtime: Runtime): Promise<void> {
  if (runtime.sandboxes.list().length > 0) return;
  const top = openCgroup(runtime.cgroups, runtime.config.cgroup.parent);
  await top.remove().catch((err) => runtime.log.debug({ err }, "the top cgroup is still in use"));
}

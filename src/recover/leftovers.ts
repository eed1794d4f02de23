// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { Cleanup } from "../lib/cleanup.ts";
import { twice } from "../lib/twice.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { unpinNamespace } from "../linux/namespace.ts";
import { removeFiles, unmountShm } from "../sandbox/files.ts";

/** What cannot be undone is tried again at the next start; a container without its completion mark is never listed. */
export async function undoUnfinishedContainers(runtime: Runtime): Promise<void> {
  const unfinished = runtime.containers
    .list()
    .filter(({ created, sandboxId }) => !created || runtime.sandboxes.get(sandboxId) === undefined);
  await Promise.all(
    unfinished.map(async ({ id, cgroupPath }) => {
      await using cleanup = new Cleanup((_, err) =>
        runtime.log.error({ err, container: id }, "a container that was being made could not be undone"),
      );
      cleanup.add("undo its creation", async () => {
        await openCgroup(runtime.cgroups, cgroupPath).remove();
        await runtime.snapshotter.remove(id);
        runtime.containers.delete(id);
      });
    }),
  );
}

/** An exit is recorded before what it leaves is taken away; the daemon may have died in between. */
export async function removeCgroupsOfEnded(runtime: Runtime): Promise<void> {
  const ended = runtime.containers.list().filter((record) => containerState(record) === "exited");
  await Promise.all(
    ended.map(async ({ id, cgroupPath }) => {
      const cgroup = openCgroup(runtime.cgroups, cgroupPath);
      if (!cgroup.exists()) return;
      // Processes that outlived the container keep it; so does its record, and its removal tries again.
      await twice(() => cgroup.remove()).catch((err) =>
        runtime.log.warn({ err, container: id }, "cgroup not removed"),
      );
    }),
  );
}

export async function removeOrphanedSnapshots(runtime: Runtime): Promise<void> {
  for (const key of runtime.snapshotter.listSnapshots()) {
    const isOwned = runtime.containers.get(key) !== undefined || runtime.sandboxes.get(key) !== undefined;
    if (!isOwned) await runtime.snapshotter.remove(key);
  }
}

/** Run directories that no record owns: their mounts and pins go first. */
export function removeOrphanedDirectories(runtime: Runtime): void {
  for (const name of readdirSync(runtime.paths.podsDir)) {
    if (runtime.sandboxes.get(name) !== undefined) continue;
    const dir = join(runtime.paths.podsDir, name);
    unpinNamespace(join(dir, "netns"));
    unmountShm(dir);
    removeFiles(dir);
  }
}

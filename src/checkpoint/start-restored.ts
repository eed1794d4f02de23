// SPDX-License-Identifier: Apache-2.0
import { rm } from "node:fs/promises";
import type { Runtime } from "../container/runtime.ts";
import { startContainer } from "../container/start.ts";
import { containerState } from "../container/status.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { launchRestored, restoreDir, resumeAll } from "./restore-launch.ts";

/** Starts a container that RestorePod has made: its processes go on where they were. */
export async function startRestored(runtime: Runtime, id: string): Promise<void> {
  try {
    await startContainer(runtime, id, launchRestored);
  } finally {
    const record = runtime.containers.get(id);
    if (record !== undefined && containerState(record) !== "created") await forgetImages(runtime, record);
  }
}

/** It has been restored, and is a container like others from now on. */
async function forgetImages(runtime: Runtime, record: ContainerRecord): Promise<void> {
  const { restore: _, ...restored } = record;
  runtime.containers.put(record.id, restored);
  const snapshot = runtime.snapshotter.get(record.id);
  if (snapshot !== undefined) await rm(restoreDir(snapshot.upperDir), { recursive: true, force: true });
}

/**
 * Settles what a daemon that died has left of starts: processes that had not been looked at yet are killed, so
 * that the container can be started again or has ended; those that had are let go on.
 */
export async function recoverRestored(runtime: Runtime): Promise<void> {
  for (const record of runtime.containers.list()) {
    if (record.restore === undefined || record.startingAtNs === undefined) continue;
    const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
    if (record.startedAtNs === undefined) {
      if (cgroup.exists()) await cgroup.kill();
      // The kernel also kills whatever is cloned into a cgroup after that, so the next start makes another.
      await cgroup.remove();
    } else {
      if (cgroup.exists()) resumeAll(cgroup);
      await forgetImages(runtime, record);
    }
  }
}

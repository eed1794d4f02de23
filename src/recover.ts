// SPDX-License-Identifier: Apache-2.0
import { recoverCheckpoints } from "./checkpoint/recover.ts";
import { isEphemeral } from "./container/records.ts";
import { removeContainer } from "./container/remove.ts";
import { imagesInUse, type Runtime } from "./container/runtime.ts";
import { withDeadline } from "./lib/deadline.ts";
import { readChildren } from "./linux/process-children.ts";
import {
  removeCgroupsOfEnded,
  removeOrphanedDirectories,
  removeOrphanedSnapshots,
  undoUnfinishedContainers,
} from "./recover/leftovers.ts";
import { takeUp } from "./recover/sandbox.ts";
import { endLostPods } from "./sandbox/lost-pods.ts";
import { removeSandbox } from "./sandbox/remove.ts";
import { stopSandbox } from "./sandbox/stop.ts";

/*
 * What a daemon does before it answers: it compares its records with the machine and settles the
 * differences. A record without its completion mark is an intent, which is undone; a pod whose
 * monitor lives goes on; what happened meanwhile is in the monitor's journal.
 */

/** What stops and removals may take before the start goes on. */
const FINISH_MS = 5000;

/** Brings records and machine together; afterwards every sandbox and container is in a true state. */
export async function recover(runtime: Runtime): Promise<void> {
  await recoverCheckpoints(runtime);
  const children = readChildren();
  await endLostPods(runtime, children);
  // All at once: one that has to be waited for, up to a deadline, does not hold up the others.
  await Promise.all(runtime.sandboxes.list().map((record) => takeUp(runtime, record, children)));
  await undoUnfinishedContainers(runtime);
  await removeCgroupsOfEnded(runtime);
  await removeOrphanedSnapshots(runtime);
  removeOrphanedDirectories(runtime);
  const live = runtime.sandboxes.list().filter((record) => record.networkAttached);
  await runtime.network.reconcile(new Set(live.map(({ id }) => id)));
  await finishBegun(runtime);
  await runtime.images.collect(() => imagesInUse(runtime), "setAside");
}

/**
 * Goes on with the stops and removals that an earlier daemon had begun: its caller may never ask again. Nor does that of
 * a container which was to live no longer than its caller's connection. What takes long, such as a plugin of the network
 * that hangs, goes on beside the daemon's work.
 */
async function finishBegun(runtime: Runtime): Promise<void> {
  const finish = (id: string, work: Promise<void>) =>
    work.catch((err) => runtime.log.error({ err, id }, "a stop or removal could not be finished; repeat it"));
  const containers = runtime.containers
    .list()
    .filter((record) => record.isRemoving || (record.created && isEphemeral(record)));
  await Promise.all(containers.map(({ id }) => finish(id, removeContainer(runtime, id))));
  const finished = Promise.all(
    runtime.sandboxes.list().map(({ id, isRemoving, end }) => {
      if (isRemoving) return finish(id, removeSandbox(runtime, id));
      return end?.isRequested ? finish(id, stopSandbox(runtime, id)) : undefined;
    }),
  );
  await withDeadline(finished, FINISH_MS, "finishing stops and removals").catch((err) =>
    runtime.log.warn({ err }, "stops and removals that were begun are not finished yet"),
  );
}

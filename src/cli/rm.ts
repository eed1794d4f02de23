// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import type { Daemon } from "./client.ts";
import { isReadySandbox, type PodEntry, podTitle } from "./inventory.ts";
import type { Context } from "./program.ts";
import { forEachPod, stopPod } from "./stop.ts";

interface Options {
  readonly force?: boolean;
  readonly time?: number;
}

export function rm(context: Context, names: readonly string[], { force, time }: Options): Promise<number> {
  return forEachPod(context, names, async (daemon, pod) => {
    if (!force && isActive(pod)) {
      throw new FailedPreconditionError(`pod ${podTitle(pod)} runs; stop it first, or use rm -f`);
    }
    await removePod(daemon, pod, time ?? (force ? 0 : undefined));
  });
}

/** Stops and removes a pod, whoever made it; returns when nothing of it is left. */
async function removePod(daemon: Daemon, pod: PodEntry, graceSeconds: number | undefined): Promise<void> {
  if (pod.kept !== undefined) {
    const grace = graceSeconds === undefined ? {} : { graceSeconds };
    await daemon.pods.deletePod({ namespace: pod.namespace, name: pod.name, ...grace });
    return;
  }
  await stopPod(daemon, pod, graceSeconds);
  if (pod.sandbox !== undefined) await daemon.runtime.removePodSandbox({ podSandboxId: pod.sandbox.id });
}

/** Whether removing it would end something, or something that podrt is about to bring back. */
function isActive({ kept, sandbox }: PodEntry): boolean {
  if (kept === undefined) return isReadySandbox(sandbox);
  return !["Succeeded", "Failed", "Stopped", "Deleting"].includes(kept.phase);
}

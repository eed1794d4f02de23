// SPDX-License-Identifier: Apache-2.0
import { type Daemon, openDaemon } from "./client.ts";
import { isRunning, type PodEntry, podTitle, requirePod, takeInventory } from "./inventory.ts";
import type { Context } from "./program.ts";

const DEFAULT_GRACE_SECONDS = 30;

export function stop(
  context: Context,
  names: readonly string[],
  { time }: { readonly time?: number },
): Promise<number> {
  return forEachPod(context, names, (daemon, pod) => stopPod(daemon, pod, time));
}

/** Does the same with each pod named, and says which are done; nothing is done when one of them is not there. */
export async function forEachPod(
  { io, socketPath }: Context,
  names: readonly string[],
  work: (daemon: Daemon, pod: PodEntry) => Promise<void>,
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const targets = names.map((name) => requirePod(inventory, name));
  for (const pod of targets) {
    await work(daemon, pod);
    await io.out(`${podTitle(pod)}\n`);
  }
  return 0;
}

/** Stops a pod, whoever made it; returns when it has stopped. */
export async function stopPod(
  daemon: Daemon,
  pod: PodEntry,
  graceSeconds: number | undefined,
): Promise<void> {
  if (pod.kept !== undefined) {
    const grace = graceSeconds === undefined ? {} : { graceSeconds };
    await daemon.pods.stopPod({ namespace: pod.namespace, name: pod.name, ...grace });
    return;
  }
  const timeout = BigInt(graceSeconds ?? DEFAULT_GRACE_SECONDS);
  const running = pod.containers.filter(isRunning);
  await Promise.all(running.map(({ id }) => daemon.runtime.stopContainer({ containerId: id, timeout })));
  if (pod.sandbox !== undefined) await daemon.runtime.stopPodSandbox({ podSandboxId: pod.sandbox.id });
}

// SPDX-License-Identifier: Apache-2.0
import { dirname } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";

/** A ready sandbox with what runs in it. */
export interface Pod {
  readonly sandbox: SandboxRecord;
  readonly running: readonly ContainerRecord[];
  /** Cgroups, by the id to keep their samples under, that together have everything of the pod. */
  readonly cgroups: readonly PodCgroup[];
}

export interface PodCgroup {
  readonly id: string;
  readonly path: string;
}

/**
 * The pods of some sandboxes, in their order, without those that are not ready. One pass over all containers,
 * however many sandboxes.
 */
export function podsOf(runtime: Runtime, sandboxes: readonly SandboxRecord[]): Pod[] {
  const ready = sandboxes.filter(isReady);
  const wanted = new Map(ready.map((sandbox) => [sandbox.id, [] as ContainerRecord[]]));
  for (const container of runtime.containers.list()) {
    if (containerState(container) === "running") wanted.get(container.sandboxId)?.push(container);
  }
  const sharers = sharersOfParents(runtime.sandboxes.list());
  return ready.map((sandbox) => {
    const running = wanted.get(sandbox.id) ?? [];
    return { sandbox, running, cgroups: cgroupsOf(sandbox, running, sharers) };
  });
}

function sharersOfParents(sandboxes: readonly SandboxRecord[]): Map<string, number> {
  const sharers = new Map<string, number>();
  for (const { cgroupPath } of sandboxes.filter(isReady)) {
    const parent = dirname(cgroupPath);
    sharers.set(parent, (sharers.get(parent) ?? 0) + 1);
  }
  return sharers;
}

/**
 * The cgroup above the pause is the pod's, made by podrt or by the kubelet. Other callers may put several pods
 * into one, or into the root: then the pod is the sum of its members.
 */
function cgroupsOf(
  { id, cgroupPath }: SandboxRecord,
  running: readonly ContainerRecord[],
  sharers: ReadonlyMap<string, number>,
): PodCgroup[] {
  const parent = dirname(cgroupPath);
  if (parent !== "/" && sharers.get(parent) === 1) return [{ id, path: parent }];
  return [{ id, path: cgroupPath }, ...running.map((record) => ({ id: record.id, path: record.cgroupPath }))];
}

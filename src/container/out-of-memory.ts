// SPDX-License-Identifier: Apache-2.0
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { MetLimit } from "../linux/cgroup/oom.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { podCgroup } from "./records.ts";
import type { Runtime } from "./runtime.ts";

const MIB = 2 ** 20;

/** One sentence on the processes of a container that the kernel killed for want of memory; undefined when there are none. */
export function outOfMemoryOf(
  { cgroups, sandboxes }: Pick<Runtime, "cgroups" | "sandboxes">,
  { cgroupPath, sandboxId }: ContainerRecord,
): string | undefined {
  const killed = openCgroup(cgroups, cgroupPath).outOfMemory();
  if (killed === undefined) return undefined;
  const { kills, limit } = killed;
  const sandbox = sandboxes.get(sandboxId);
  return `the kernel killed ${kills} of its processes for want of memory: ${reached(limit, cgroupPath, sandbox && podCgroup(sandbox))}`;
}

function reached(limit: MetLimit | undefined, ofContainer: string, ofPod: string | undefined): string {
  if (limit === undefined) return "the machine had no more";
  const { path, bytes } = limit;
  const whose = path === ofContainer ? "the container's" : path === ofPod ? "the pod's" : `cgroup ${path}'s`;
  const size = bytes === undefined ? "" : ` of ${Number((bytes / MIB).toFixed(2))} MiB`;
  return `${whose} memory limit${size} was reached`;
}

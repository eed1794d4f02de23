// SPDX-License-Identifier: Apache-2.0
import { dirname } from "node:path";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { CgroupHost } from "../linux/cgroup/host.ts";
import type { MetLimit } from "../linux/cgroup/oom.ts";
import type { ContainerRecord } from "../state/containers.ts";

const MIB = 2 ** 20;

/** One sentence on the processes of a container that the kernel killed for want of memory; undefined when there are none. */
export function outOfMemoryOf(host: CgroupHost, { cgroupPath }: ContainerRecord): string | undefined {
  const killed = openCgroup(host, cgroupPath).outOfMemory();
  if (killed === undefined) return undefined;
  const { kills, limit } = killed;
  return `the kernel killed ${kills} of its processes for want of memory: ${reached(limit, cgroupPath)}`;
}

function reached(limit: MetLimit | undefined, cgroupPath: string): string {
  if (limit === undefined) return "the machine had no more";
  const { path, bytes } = limit;
  const whose =
    path === cgroupPath ? "the container's" : path === dirname(cgroupPath) ? "the pod's" : `cgroup ${path}'s`;
  const size = bytes === undefined ? "" : ` of ${Number((bytes / MIB).toFixed(2))} MiB`;
  return `${whose} memory limit${size} was reached`;
}

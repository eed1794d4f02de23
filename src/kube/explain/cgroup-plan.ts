// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { CgroupPlace } from "../../launch/child.ts";
import type { ListedFds } from "../../launch/listed-fds.ts";
import { openCgroup } from "../../linux/cgroup/cgroup.ts";
import type { CgroupResources } from "../../linux/cgroup/resources.ts";

/** Stand for the ids that a pod and a container get when they are made. */
export const SANDBOX_ID = "SANDBOX";
export const CONTAINER_ID = "CONTAINER";
/** A cgroup that would be made. */
export interface CgroupPlan {
  readonly path: string;
  readonly directories: readonly string[];
  readonly settings: readonly { readonly file: string; readonly value: string }[];
}

export function cgroupPlan({ cgroups }: Runtime, path: string, resources: CgroupResources): CgroupPlan {
  const cgroup = openCgroup(cgroups, path);
  return { path, directories: cgroup.directories(), settings: cgroup.settings(resources) };
}

/** What a launch into a cgroup that is not there yet would be given. */
export function listedPlace({ cgroups }: Runtime, path: string, passed: ListedFds): CgroupPlace {
  const cgroup = openCgroup(cgroups, path);
  const unified = cgroup.directories()[cgroups.hierarchies.length];
  return {
    joinTargets: cgroup.joinTargets(),
    directory: unified === undefined ? undefined : passed.standIn(unified, "directory"),
  };
}

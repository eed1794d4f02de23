// SPDX-License-Identifier: Apache-2.0
import { dirname, join } from "node:path";
import { cgroupOfScope } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError, InvalidArgumentError, messageOf, PodrtError } from "../errors.ts";
import type { PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import { quoted } from "../lib/foreign-text.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { unifiedCgroupOf } from "../linux/cgroup/membership.ts";
import { openSubgroup } from "../linux/cgroup/subgroup.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { sliceOfParent } from "../systemd/unit-name.ts";

/*
 * The cgroups of a pod. With the driver cgroupfs podrt makes all of them: the pause's and each container's, below the
 * parent that the caller names or in one of the pod's own. With the driver systemd they are below a scope, one for each
 * pod, which systemd makes in the caller's slice and leaves to podrt:
 *
 *   kubepods-pod1.slice/podrt-ID.scope/{monitor,pause,CONTAINER}     the slice is the kubelet's, and limits the pod
 *   podrt.slice/podrt-ID.scope/{monitor,pod/{pause,CONTAINER}}       podrt limits the pod, in a cgroup that is no unit's
 *
 * The scope begins with the pod's monitor, which thereby leaves the cgroup of podrt.service, and systemd takes it away
 * with its last process. What systemd writes to the scope's own files, at each daemon-reload, touches no limit.
 */

const FIELD = "config.linux.cgroup_parent";
const MONITOR = "monitor";

/** Where the cgroups of a new pod are to be; InvalidArgumentError when its parent is not of the driver's kind. */
export function placeOfPod(
  { config: { cgroup } }: Pick<Runtime, "config">,
  id: string,
  config: PodSandboxConfig,
): Pick<SandboxRecord, "cgroupPath" | "ownsCgroupParent" | "scope"> {
  const parent = config.linux?.cgroupParent ?? "";
  const ownsCgroupParent = parent === "";
  if (cgroup.driver === "systemd") {
    const slice = ownsCgroupParent ? cgroup.slice : sliceOfParent(FIELD, parent);
    const scope = { name: `podrt-${id}.scope`, slice };
    const cgroupPath = join(cgroupOfScope(scope), ownsCgroupParent ? "pod" : "", "pause");
    return { cgroupPath, ownsCgroupParent, scope };
  }
  if (parent.endsWith(".slice") && !parent.includes("/")) {
    throw new InvalidArgumentError(
      FIELD,
      `is the slice ${quoted(parent, 255)}, and podrt's cgroup driver is cgroupfs: set the kubelet's cgroupDriver to cgroupfs, or cgroup.driver of podrt to "systemd"`,
    );
  }
  const cgroupPath = ownsCgroupParent ? join(cgroup.parent, id, "pause") : join("/", parent, id);
  return { cgroupPath, ownsCgroupParent };
}

/** Makes the cgroup of a pod's pause with all above it. A scope begins with the pod's monitor, which has no child yet. */
export async function makePodCgroup(
  { cgroups, systemd }: Runtime,
  { name, namespace, scope, cgroupPath }: SandboxRecord,
  { pid }: ProcessIdentity,
): Promise<void> {
  if (scope !== undefined) {
    const path = cgroupOfScope(scope);
    await systemd
      .startScope({ ...scope, description: `podrt pod ${namespace}/${name}`, pid })
      .catch((error) => {
        throw inContext(`cannot put pod ${namespace}/${name} into ${scope.name} in ${scope.slice}`, error);
      });
    const actual = unifiedCgroupOf(pid);
    if (actual !== path) {
      throw new FailedPreconditionError(
        `systemd has put ${scope.name} at cgroup ${actual ?? "unknown"}, and podrt expected ${path}: podrt must see the machine's cgroup tree from its root`,
      );
    }
    // A cgroup that hands controllers down may have no process of its own (cgroups(7)).
    using _directory = openSubgroup(cgroups, path, MONITOR)?.create();
    openCgroup(cgroups, join(path, MONITOR)).moveHere(pid);
  }
  openCgroup(cgroups, cgroupPath).create();
}

/** Removes what podrt made: the cgroup of the pause and, where podrt chose it, the pod's, or the scope with all in it. */
export async function removePodCgroup(
  { cgroups, systemd }: Runtime,
  { cgroupPath, ownsCgroupParent, scope, pause }: SandboxRecord,
): Promise<void> {
  if (scope === undefined) {
    const cgroup = openCgroup(cgroups, ownsCgroupParent ? dirname(cgroupPath) : cgroupPath);
    // A pause that nobody could look at when it had begun has no pid in the record, and outlives its monitor.
    if (pause === undefined && cgroup.exists()) await cgroup.kill();
    return cgroup.remove();
  }
  const cgroup = openCgroup(cgroups, cgroupOfScope(scope));
  // systemd ends a scope by itself when its last process has.
  if (!cgroup.exists()) return;
  await cgroup.kill();
  await systemd.stopUnit(scope.name).catch((error) => {
    throw inContext(`cannot end ${scope.name}, whose processes have ended`, error);
  });
  // Of a scope that systemd knows nothing of any more.
  await cgroup.remove();
}

function inContext(step: string, error: unknown): PodrtError {
  const kind = error instanceof PodrtError ? error.kind : "Internal";
  return new PodrtError(kind, `${step}: ${messageOf(error)}`, { cause: error });
}

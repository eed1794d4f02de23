// SPDX-License-Identifier: Apache-2.0
import { sandboxConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { podIdMappings } from "../container/user-namespace.ts";
import type { Fd } from "../linux/fd.ts";
import { openNamespace } from "../linux/namespace.ts";
import { isAlive, type ProcessIdentity } from "../linux/process.ts";
import { isErrno } from "../linux/syscall.ts";
import { isReady } from "../state/sandboxes.ts";

let kept: Fd | undefined;

/**
 * The mount namespace of some pod's embedded pause, in which nothing is but an empty root: what a new pause copies, since
 * the host's has two mounts for each pod. The descriptor is the caller's; undefined while there is no such pod. The
 * first one found is kept, and the namespace with it when that pod ends.
 */
export function openBareMounts(runtime: Pick<Runtime, "sandboxes" | "bootId">): Fd | undefined {
  kept ??= findBareMounts(runtime);
  return kept?.duplicate();
}

function findBareMounts({ sandboxes, bootId }: Pick<Runtime, "sandboxes" | "bootId">): Fd | undefined {
  for (const record of sandboxes.list()) {
    const { pause, image } = record;
    if (!isReady(record) || record.bootId !== bootId || pause === undefined || image !== undefined) continue;
    // A namespace that belongs to a pod's user namespace is not for other pods to enter.
    if (podIdMappings(sandboxConfig(record)) !== undefined) continue;
    const mounts = tryOpenMounts(pause);
    if (mounts !== undefined) return mounts;
  }
  return undefined;
}

function tryOpenMounts(pause: ProcessIdentity): Fd | undefined {
  try {
    const mounts = openNamespace(pause.pid, "mnt");
    if (isAlive(pause)) return mounts;
    mounts.close();
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ESRCH")) throw error;
  }
  return undefined;
}

// SPDX-License-Identifier: Apache-2.0
import { realpathSync } from "node:fs";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import type { ContainerConfig } from "../gen/runtime/v1/api_pb.ts";
import { startWorkerPool } from "../lib/worker-pool.ts";
import type { TreeJob, TreeReply } from "../snapshot/tree-worker.ts";

/** What a machine does not survive when it is a container's: directories of the system, as they are or linked. */
const OF_THE_SYSTEM = new Set(
  (
    "/ /bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr " +
    "/usr/bin /usr/lib /usr/lib64 /usr/sbin /usr/share /var /var/lib /var/log /var/run /var/tmp"
  ).split(" "),
);

/**
 * Gives the sources of those mounts of `config` that ask for it (selinux_relabel) the label of the container's
 * files, on a thread: a volume may have millions. Nothing is done where SELinux is off (`label` undefined).
 */
export async function relabelMounts(config: ContainerConfig, label: string | undefined): Promise<void> {
  const asking = config.mounts.flatMap((mount, index) =>
    mount.selinuxRelabel && mount.hostPath !== "" ? [{ path: mount.hostPath, index }] : [],
  );
  if (label === undefined || asking.length === 0) return;
  const pool = startWorkerPool<TreeJob, TreeReply>({
    entry: "snapshot/tree-worker.ts",
    workers: 1,
    idleMs: 1000,
  });
  try {
    for (const { path, index } of asking) {
      const field = `config.mounts[${index}].selinux_relabel`;
      try {
        const real = realpathSync(path);
        if (OF_THE_SYSTEM.has(real)) throw new Error("it is a directory of the system; mount one of its own");
        await pool.run({ kind: "relabel", path: real, label });
      } catch (error) {
        throw new FailedPreconditionError(
          `${field}: cannot give ${path} the SELinux context ${label}: ${messageOf(error)}`,
          { cause: error },
        );
      }
    }
  } finally {
    await pool.close();
  }
}

// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";

/** Every path and kernel-wide name that one instance of podrt owns; see docs/architecture.md, State. */
export interface Paths {
  /** What must survive a reboot: database, blobs, layers, upper directories. */
  readonly stateDir: string;
  readonly database: string;
  readonly blobsDir: string;
  readonly layersDir: string;
  readonly containersDir: string;
  /** Downloads in flight; emptied at start. */
  readonly ingestDir: string;
  /** Of blobs whose pull was interrupted. */
  readonly partialDir: string;
  /** A directory for each checkpoint or restore under way; what a daemon that died left is removed at start. */
  readonly checkpointsDir: string;
  /** Damaged rows and databases, put aside for people to look at. */
  readonly quarantineDir: string;
  /** What a reboot clears: sockets, journals, pins. */
  readonly runDir: string;
  readonly socket: string;
  /** Where plugins connect unless the configuration says otherwise; the usual place for the machine's instance. */
  readonly nriSocket: string;
  readonly podsDir: string;
  /** An empty directory on which a container's root is attached, inside that container's mount namespace. */
  readonly rootMountPoint: string;
  readonly lockFile: string;
  /** Which file of a cgroup that is not podrt's is changed at this moment. */
  readonly borrowedCgroupFile: string;
  readonly configFile: string;
  /** Configurations for CNI plugins, unless the configuration names another directory. */
  readonly cniConfDir: string;
  /** Suffix of names the kernel keeps machine-wide (bridge, nftables table, cgroup); empty for the default instance. */
  readonly instance: string;
}

/**
 * The paths of the machine's instance, or, with `root`, of one that lives below that directory alone.
 */
export function pathsFor(root?: string): Paths {
  if (root === undefined)
    return layout("/var/lib/podrt", "/run/podrt", "/etc/podrt/config.toml", "/etc/cni/net.d", "");
  const base = resolve(root);
  const instance = createHash("sha256").update(base).digest("hex").slice(0, 8);
  return layout(
    join(base, "lib"),
    join(base, "run"),
    join(base, "config.toml"),
    join(base, "cni/net.d"),
    instance,
  );
}

/** The run directory of one sandbox: monitor socket, journal, network namespace pin. */
export function podDir(paths: Paths, sandboxId: string): string {
  return join(paths.podsDir, sandboxId);
}

/** Where a container's writes to its root go: the upper directory of its overlay. */
export function upperDirectory({ containersDir }: Pick<Paths, "containersDir">, containerId: string): string {
  return join(containersDir, containerId, "upper");
}

function layout(
  stateDir: string,
  runDir: string,
  configFile: string,
  cniConfDir: string,
  instance: string,
): Paths {
  return {
    stateDir,
    database: join(stateDir, "podrt.db"),
    blobsDir: join(stateDir, "blobs"),
    layersDir: join(stateDir, "layers"),
    containersDir: join(stateDir, "containers"),
    ingestDir: join(stateDir, "ingest"),
    partialDir: join(stateDir, "partial"),
    quarantineDir: join(stateDir, "quarantine"),
    checkpointsDir: join(stateDir, "checkpoints"),
    runDir,
    socket: join(runDir, "podrt.sock"),
    nriSocket: instance === "" ? "/var/run/nri/nri.sock" : join(runDir, "nri.sock"),
    podsDir: join(runDir, "pods"),
    rootMountPoint: join(runDir, "root"),
    lockFile: join(runDir, "lock"),
    borrowedCgroupFile: join(runDir, "borrowed-cgroup-file"),
    configFile,
    cniConfDir,
    instance,
  };
}

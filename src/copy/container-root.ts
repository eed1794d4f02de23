// SPDX-License-Identifier: Apache-2.0
import { hasOciHandler } from "../container/oci/handler.ts";
import { specOf } from "../container/records.ts";
import { type Runtime, snapshotOf } from "../container/runtime.ts";
import { containerState } from "../container/status.ts";
import { shownIds, specIdMappings } from "../container/user-namespace.ts";
import { FailedPreconditionError, UnimplementedError } from "../errors.ts";
import { withShownIds } from "../launch/idmapped-directories.ts";
import { mountReadOnlyOverlay } from "../launch/rootfs.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { isAlive } from "../linux/process.ts";
import { isErrno } from "../linux/syscall.ts";
import type { IdMappings } from "../oci/id-mapping.ts";
import type { ContainerRecord } from "../state/containers.ts";

/** The root directory of a container, for whoever copies. */
export interface ContainerRoot extends Disposable {
  readonly fd: Fd;
  /** Of its user namespace; undefined in the host's. */
  readonly mappings: IdMappings | undefined;
  /** Of the container. */
  readonly name: string;
}

/**
 * As the container's own first process sees it, with all that is mounted. FailedPreconditionError unless it runs,
 * UnimplementedError where an OCI runtime made it: what looks like its process may be a sandbox around it (gVisor),
 * with other files.
 */
export function openLiveRoot(runtime: Pick<Runtime, "sandboxes">, record: ContainerRecord): ContainerRoot {
  const { id, process } = record;
  const state = containerState(record);
  if (state !== "running" || process === undefined) {
    throw new FailedPreconditionError(
      `container ${id} is ${state}, not running: only out of it files can be copied`,
    );
  }
  if (hasOciHandler(runtime, record)) {
    throw new UnimplementedError(
      `container ${id} is made by an OCI runtime, and podrt does not look for files in those while they run; use \`podrt exec\``,
    );
  }
  const ended = () => new FailedPreconditionError(`container ${id} has just ended`);
  let fd: Fd;
  try {
    fd = open(`/proc/${process.pid}/root`, O_PATH | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH", "EACCES")) throw ended();
    throw error;
  }
  // Alive now, it was alive then: the number was its own.
  if (isAlive(process))
    return { fd, name: record.name, mappings: mappingsOf(record), [Symbol.dispose]: () => fd.close() };
  fd.close();
  throw ended();
}

/** The same, or of a container that has ended its root as it left it: without volumes, and for reading alone. */
export function openRoot(runtime: Runtime, record: ContainerRecord): ContainerRoot {
  const state = containerState(record);
  if (state === "running") return openLiveRoot(runtime, record);
  if (state === "created") {
    throw new FailedPreconditionError(`container ${record.id} was not started yet, so nothing is in it`);
  }
  const { lowerDirs, upperDir } = snapshotOf(runtime, record);
  const mappings = mappingsOf(record);
  const label = specOf(record).linux.mountLabel;
  // What it has written has the host's ids already.
  const fd = withShownIds(lowerDirs, shownIds(runtime, mappings), (shown) =>
    mountReadOnlyOverlay([upperDir, ...shown], runtime.paths.rootMountPoint, label),
  );
  return { fd, name: record.name, mappings, [Symbol.dispose]: () => fd.close() };
}

function mappingsOf(record: ContainerRecord): IdMappings | undefined {
  return specIdMappings(specOf(record));
}

// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import type { JsonText } from "../lib/json-text.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import { type IndexedTable, indexTable } from "./indexed-table.ts";
import { containerSchema } from "./schemas.ts";
import { openTable, type TableOptions } from "./table.ts";

/** An image that is mounted in a container; its layers are needed as long as the container is there. */
export interface ImageVolumeRecord {
  /** Position of the mount in the configuration. */
  readonly mount: number;
  readonly imageId: string;
  /** A repository digest, or the id. */
  readonly imageReference: string;
}

/** What is kept of a container. State is derived from it by `container/status.ts`, never stored. */
export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly createdAtNs: string;
  /** runtime.v1.ContainerConfig in protobuf JSON, with its resources as they were last updated. */
  readonly config: JsonText<object>;
  /** Image.id: digest of the image's configuration. */
  readonly imageId: string;
  /** What the caller named, and a repository digest or the id, as ContainerStatus reports them. */
  readonly imageName: string;
  readonly imageReference: string;
  readonly imageVolumes?: readonly ImageVolumeRecord[];
  /** False until the snapshot exists; such a record is an intent, undone at the next start. */
  readonly created: boolean;
  /** True once its removal has begun, which only goes forward: a daemon that starts finishes it. */
  readonly isRemoving?: boolean;
  /** Set before the launch program is sent. */
  readonly startingAtNs?: string;
  readonly startedAtNs?: string;
  readonly process?: ProcessIdentity;
  /** Its stdin was for one session, which has ended; the monitor may still be holding it. */
  readonly stdinClosed?: boolean;
  readonly finishedAtNs?: string;
  /** True while output of the ended container is in pipes that the monitor holds, its log's disk being full. */
  readonly hasHeldOutput?: boolean;
  readonly exitCode?: number;
  readonly reason?: string;
  readonly message?: string;
  /** The resolved launch: argv, env, user, mounts, limits as an OCI runtime configuration. */
  readonly runtimeSpec: JsonText<object>;
  readonly cgroupPath: string;
  /** Absolute path, empty when the container has no log. */
  readonly logPath: string;
  /** First descriptor number under which the monitor holds this container's stdio. */
  readonly heldFd: number;
  readonly stopSignal: number;
  /** Set while the container is to be started from a checkpoint. */
  readonly restore?: RestoreRecord;
}

/** How the processes of a checkpoint name what they share with the runtime, for criu's --inherit-fd. */
export interface RestoreRecord {
  readonly stdin?: string | undefined;
  readonly stdout?: string | undefined;
  readonly stderr?: string | undefined;
}

export function openContainers(
  database: Database,
  putAside?: TableOptions["putAside"],
): IndexedTable<ContainerRecord> {
  const table = openTable<ContainerRecord>(database, "containers", {
    schema: containerSchema,
    putAside,
    fixed: { table: "container_specs", fields: ["config", "runtimeSpec"] },
  });
  return indexTable(table, ({ sandboxId }) => sandboxId);
}

// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import { podSchema } from "../state/schemas.ts";
import { openTable, type Table, type TableOptions } from "../state/table.ts";
import type { Pod } from "./pod.ts";

/** How a container of a pod ended last. */
export interface ContainerExit {
  readonly containerId: string;
  readonly attempt: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly finishedAtNs: string;
  /** The container was ended since a probe said so: it is started again unless it never is. */
  readonly isUnhealthy?: boolean;
  /** Its sandbox had ended under it, and nobody had asked for that. */
  readonly isDisrupted?: boolean;
}

/** What is remembered of one container across its attempts and across sandboxes. */
export interface ContainerMemory {
  /** The attempt the next container gets, and so how often it was restarted, plus one. */
  readonly nextAttempt: number;
  /** Exits in a row without ten minutes of running between them. */
  readonly crashes: number;
  /** Clock.nowMs() before which it is not started again. */
  readonly notBeforeMs: number;
  readonly lastExit?: ContainerExit;
  /** The container with this id has had its postStart hook. */
  readonly postStartedId?: string;
  /** What the probes said of the container with this id. */
  readonly readiness?: { readonly containerId: string; readonly started: boolean; readonly ready: boolean };
  /** The container with this id is to be ended, and why; the pod's own grace unless a probe has one. */
  readonly unhealthy?: {
    readonly containerId: string;
    readonly message: string;
    readonly graceSeconds?: number;
  };
}

/** What is kept of a pod that podrt runs without a kubelet; the key is `namespace/name`. */
export interface PodRecord {
  readonly pod: Pod;
  readonly createdAtNs: string;
  /** The attempt the next sandbox gets. */
  readonly nextSandboxAttempt: number;
  /** By container name; one that never ran is missing. */
  readonly containers: Readonly<Record<string, ContainerMemory>>;
  /** Why the sandbox before the present one ended. */
  readonly lastSandboxEnd?: string;
  /** The sandbox that was stopped because every container was done. */
  readonly finishedSandboxId?: string;
  /** Why the pod as a whole has failed, whatever its containers do. */
  readonly failure?: { readonly reason: string; readonly message: string };
  /** How often the whole pod was run anew, as a Job's is; and when, on Clock.nowMs(), it is next. */
  readonly retries?: number;
  /** How many of those followed a failure that does not count. */
  readonly ignored?: number;
  readonly retryAtMs?: number | undefined;
  /** When nothing more came of a Job's pod, on Clock.nowMs(). */
  readonly finishedAtMs?: number;
  /** Set once the pod is to stop, or to go. */
  readonly ending?: { readonly graceSeconds: number; readonly remove: boolean };
}

export function openPods(database: Database, putAside?: TableOptions["putAside"]): Table<PodRecord> {
  return openTable<PodRecord>(database, "pods", { schema: podSchema, putAside });
}

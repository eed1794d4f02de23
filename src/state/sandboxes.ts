// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import type { JsonText } from "../lib/json-text.ts";
import type { ProcessIdentity } from "../linux/process.ts";
import { sandboxSchema } from "./schemas.ts";
import { openTable, type Table, type TableOptions } from "./table.ts";

/** Why a sandbox is no longer ready. */
export interface SandboxEnd {
  readonly atNs: string;
  /** One sentence: `pause died of SIGKILL`, `stopped on request`. */
  readonly reason: string;
  /** True once somebody asked for it: a daemon that starts goes on with such a stop. */
  readonly isRequested?: boolean;
}

/** SELinux contexts of a pod's processes and of their files. */
export interface PodLabels {
  readonly process: string;
  readonly file: string;
}

/** A unit of systemd's, and the slice that it is in. */
export interface ScopeName {
  readonly name: string;
  readonly slice: string;
}

/** What is kept of a pod sandbox. State is derived from it by `sandbox/status.ts`, never stored. */
export interface SandboxRecord {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly attempt: number;
  readonly createdAtNs: string;
  readonly runtimeHandler: string;
  /** runtime.v1.PodSandboxConfig in protobuf JSON, with its overhead and resources as they were last updated. */
  readonly config: JsonText<object>;
  /** Set once the sandbox is ready; a record without it is an intent, undone at the next start. */
  readonly readyAtNs?: string;
  readonly end?: SandboxEnd;
  /** True once its removal has begun, which only goes forward: a daemon that starts finishes it. */
  readonly isRemoving?: boolean;
  /** /proc/sys/kernel/random/boot_id of the boot it belongs to. */
  readonly bootId: string;
  readonly monitor?: ProcessIdentity;
  readonly pause?: ProcessIdentity;
  /** Where the pause is not the embedded one: Image.id, and the name in the configuration. */
  readonly image?: { readonly id: string; readonly name: string };
  /** Absolute path in the cgroup tree of the cgroup that holds the pause; containers are its siblings. */
  readonly cgroupPath: string;
  /** True when the parent cgroup was podrt's own choice, so that removing it is podrt's duty. */
  readonly ownsCgroupParent: boolean;
  /** In whose cgroup all others of the pod are; absent where podrt made them all itself. */
  readonly scope?: ScopeName;
  /** Addresses, primary first; empty for a pod in the host's network. */
  readonly addresses: readonly string[];
  readonly networkAttached: boolean;
  /** Absent where SELinux is off. */
  readonly selinux?: PodLabels;
}

/** True from the moment a sandbox is complete until its pause ends. */
export function isReady(record: SandboxRecord): boolean {
  return record.readyAtNs !== undefined && record.end === undefined;
}

export function openSandboxes(database: Database, putAside?: TableOptions["putAside"]): Table<SandboxRecord> {
  return openTable<SandboxRecord>(database, "sandboxes", {
    schema: sandboxSchema,
    putAside,
    fixed: { table: "sandbox_configs", fields: ["config"] },
  });
}

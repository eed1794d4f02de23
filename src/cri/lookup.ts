// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { InvalidArgumentError, NotFoundError } from "../errors.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import type { Table } from "../state/table.ts";
import { shown } from "./validate-fields.ts";

const ID_LENGTH = 64;

/**
 * Whether clients may see it: once ready, and then until it is removed. One that failed while it was made
 * and could not be undone has an end, and is listed so that the kubelet collects it.
 */
export function isVisibleSandbox(record: SandboxRecord): boolean {
  return record.readyAtNs !== undefined || record.end !== undefined;
}

/** The sandbox with this id, or the only one whose id begins so; `path` is the field that names it. */
export function findSandbox(
  runtime: Runtime,
  id: string,
  path = "pod_sandbox_id",
): SandboxRecord | undefined {
  return find(runtime.sandboxes, id, path, isVisibleSandbox, "pod sandbox");
}

export function requireSandbox(runtime: Runtime, id: string): SandboxRecord {
  const record = findSandbox(runtime, id);
  if (record === undefined) throw new NotFoundError(`there is no pod sandbox ${shown(id)}`);
  return record;
}

/** The container with this id, or the only one whose id begins so; `path` is the field that names it. */
export function findContainer(
  runtime: Runtime,
  id: string,
  path = "container_id",
): ContainerRecord | undefined {
  return find(runtime.containers, id, path, (record) => record.created, "container");
}

export function requireContainer(runtime: Runtime, id: string): ContainerRecord {
  const record = findContainer(runtime, id);
  if (record === undefined) throw new NotFoundError(`there is no container ${shown(id)}`);
  return record;
}

/** Stopping or removing what is gone already has succeeded, also when it went meanwhile. */
export async function ignoreNotFound(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
  }
}

/** A prefix costs a look at every id; clients that poll name whole ones. */
function find<T>(
  table: Table<T>,
  id: string,
  path: string,
  isVisible: (record: T) => boolean,
  kind: string,
): T | undefined {
  const exact = table.get(id);
  if (exact !== undefined) return isVisible(exact) ? exact : undefined;
  if (id === "" || id.length >= ID_LENGTH) return undefined;
  const matches: T[] = [];
  for (const key of table.keys()) {
    const record = key.startsWith(id) ? table.get(key) : undefined;
    if (record !== undefined && isVisible(record)) matches.push(record);
  }
  if (matches.length > 1) {
    throw new InvalidArgumentError(path, `${shown(id)} is the beginning of ${matches.length} ${kind} ids`);
  }
  return matches[0];
}

// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { applyContainerUpdate } from "../container/update.ts";
import { messageOf } from "../errors.ts";
import type { ContainerEviction, ContainerUpdate } from "../gen/nri/v1alpha1/api_pb.ts";
import { Field } from "../gen/nri/v1alpha1/api_pb.ts";
import type { Claims } from "./claims.ts";
import { resourceFields, type SetField } from "./fields.ts";
import { refuseOthers } from "./refusals.ts";
import { criResources } from "./resources.ts";

/** The fields that an update sets; refused are those that podrt changes at no time, or not after the creation. */
export function updateFields({ linux }: ContainerUpdate, plugin: string): SetField[] {
  const fields = resourceFields(linux?.resources);
  refuseOthers(plugin, fields, ATTRIBUTES_OF_CREATION);
  return fields;
}

const ATTRIBUTES_OF_CREATION: ReadonlyMap<Field, string> = new Map([
  [Field.PidsLimit, "podrt sets it when a container is created, not later"],
  [Field.None, "podrt sets rules for devices when a container is created, not later"],
]);

/** The updates that a plugin may make, as no other one has set the same; what may fail and does is logged. */
export function claimUpdates(
  runtime: Runtime,
  claims: Claims,
  updates: readonly ContainerUpdate[],
  plugin: string,
): ContainerUpdate[] {
  return updates.filter((update) => {
    try {
      for (const field of updateFields(update, plugin)) claims.claim(update.containerId, field, plugin);
      return true;
    } catch (error) {
      if (!update.ignoreFailure) throw error;
      runtime.log.warn({ plugin, container: update.containerId }, `not updated: ${messageOf(error)}`);
      return false;
    }
  });
}

/** Changes containers as plugins want it; answers those that could not be changed though it matters. */
export async function applyUpdates(
  runtime: Runtime,
  updates: readonly ContainerUpdate[],
  plugin?: string,
): Promise<ContainerUpdate[]> {
  const failed: ContainerUpdate[] = [];
  for (const update of updates) {
    const { containerId, linux, ignoreFailure } = update;
    try {
      if (plugin !== undefined) updateFields(update, plugin);
      if (linux?.resources === undefined) continue;
      await applyContainerUpdate(runtime, containerId, criResources(linux.resources));
    } catch (error) {
      const problem = `an update that an NRI plugin asked for failed: ${messageOf(error)}`;
      runtime.log.warn({ container: containerId, ...(plugin === undefined ? {} : { plugin }) }, problem);
      if (!ignoreFailure) failed.push(update);
    }
  }
  return failed;
}

/** Like other runtimes podrt evicts nothing for a plugin, but it does not keep silent about it. */
export function warnOfEvictions(
  runtime: Runtime,
  plugin: string,
  evictions: readonly ContainerEviction[],
): void {
  for (const { containerId, reason } of evictions) {
    const problem = `NRI plugin ${plugin} asks for the eviction of a container, which podrt leaves to the kubelet: ${reason}`;
    runtime.log.warn({ plugin, container: containerId }, problem);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { clone, create } from "@bufbuild/protobuf";
import { FailedPreconditionError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import {
  ContainerConfigSchema,
  LinuxContainerConfigSchema,
  type LinuxContainerResources,
} from "../gen/runtime/v1/api_pb.ts";
import { JsonText } from "../lib/json-text.ts";
import { type Cgroup, openCgroup } from "../linux/cgroup/cgroup.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { affectedBy, mergeResources } from "./merge-resources.ts";
import { containerConfig, keptContainerConfig, specOf } from "./records.ts";
import { isBeingRemoved } from "./removal.ts";
import { cgroupResources } from "./resources.ts";
import { type Runtime, updateContainer } from "./runtime.ts";
import { containerState } from "./status.ts";

/**
 * Changes the limits of a container that has not ended: in its cgroup, in its status and for good, or
 * nowhere. What `asked` leaves at 0 or empty stays.
 *
 * The OOM score is no limit of the cgroup but an attribute that each process inherited at its start. It
 * changes for a container that is still to be started; the processes of a running one keep theirs, as
 * with other runtimes, and the status goes on showing that.
 */
export async function updateContainerResources(
  runtime: Runtime,
  id: string,
  asked: LinuxContainerResources,
): Promise<void> {
  const change = await runtime.plugins.updateContainer(updatable(runtime, id), asked);
  await applyContainerUpdate(runtime, id, change);
  const updated = runtime.containers.get(id);
  if (updated !== undefined) await runtime.plugins.postUpdateContainer(updated);
}

/** The same, without asking the plugins: what one of them wants is no news to them. */
export async function applyContainerUpdate(
  runtime: Runtime,
  id: string,
  change: LinuxContainerResources,
): Promise<void> {
  await runtime.locks.run(id, async () => {
    const record = updatable(runtime, id);
    const isRunning = containerState(record) === "running";
    const current = containerConfig(record).linux?.resources;
    const merged = mergeResources(current, change);
    if (isRunning) merged.oomScoreAdj = current?.oomScoreAdj ?? 0n;
    checkMemory(merged);
    const cgroup = openCgroup(runtime.cgroups, record.cgroupPath);
    // A reboot has taken the cgroup of a created container away; its start makes it with the new limits.
    const takeBack = cgroup.exists()
      ? await applyUpdate(cgroup, `container ${id}`, change, merged)
      : async () => {};
    try {
      store(runtime, updatable(runtime, id), merged);
    } catch (error) {
      await takeBack();
      throw error;
    }
  });
}

function updatable(runtime: Runtime, id: string): ContainerRecord {
  const record = runtime.containers.get(id);
  if (record === undefined) throw new NotFoundError(`container ${id} does not exist`);
  const state = containerState(record);
  const problem = isBeingRemoved(id) ? "being removed" : state;
  if (problem === "created" || problem === "running") return record;
  throw new FailedPreconditionError(
    `cannot update the resources of container ${id}: it is ${problem}, and only a created or running one has any`,
  );
}

function checkMemory({ memoryLimitInBytes, memorySwapLimitInBytes }: LinuxContainerResources): void {
  if (memorySwapLimitInBytes <= 0n || memorySwapLimitInBytes >= memoryLimitInBytes) return;
  throw new InvalidArgumentError(
    "linux.memory_swap_limit_in_bytes",
    `would be ${memorySwapLimitInBytes}, less than the memory limit of ${memoryLimitInBytes} that it includes; set both`,
  );
}

/**
 * Writes to the cgroup what `change` touches; answers what takes that back. A memory limit below what is in use and cannot
 * be dropped is refused here: cgroup v2 would kill for it.
 */
export async function applyUpdate(
  cgroup: Cgroup,
  label: string,
  change: LinuxContainerResources,
  merged: LinuxContainerResources,
): Promise<() => Promise<void>> {
  const limit = change.memoryLimitInBytes;
  const used = limit > 0n ? (cgroup.stats().memory?.workingSetBytes ?? 0) : 0;
  if (limit > 0n && used > limit) {
    throw new FailedPreconditionError(
      `cannot lower the memory limit of ${label} to ${limit} bytes: ${used} bytes are in use; end something in it or take a higher limit`,
    );
  }
  return cgroup.update(cgroupResources(affectedBy(change, merged)));
}

function store(runtime: Runtime, record: ContainerRecord, resources: LinuxContainerResources): void {
  const config = clone(ContainerConfigSchema, containerConfig(record));
  config.linux ??= create(LinuxContainerConfigSchema);
  config.linux.resources = resources;
  const spec = specOf(record);
  const score = Number(resources.oomScoreAdj);
  const process = score === 0 ? spec.process : { ...spec.process, oomScoreAdj: score };
  updateContainer(runtime, record, {
    config: keptContainerConfig(config),
    runtimeSpec: new JsonText({ ...spec, process }),
  });
}

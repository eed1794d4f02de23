// SPDX-License-Identifier: Apache-2.0
import { dirname } from "node:path";
import { clone, create } from "@bufbuild/protobuf";
import { mergeResources } from "../container/merge-resources.ts";
import type { PodResources } from "../container/plugins.ts";
import { keptSandboxConfig, sandboxConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { applyUpdate } from "../container/update.ts";
import { NotFoundError } from "../errors.ts";
import {
  type LinuxContainerResources,
  LinuxContainerResourcesSchema,
  LinuxPodSandboxConfigSchema,
  PodSandboxConfigSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import { isReady, type SandboxRecord } from "../state/sandboxes.ts";

/**
 * Notes new resources and overhead of a sandbox; what the change leaves out, or at 0, stays. Where podrt
 * chose the pod's cgroup the sum of both is enforced there; a cgroup that the caller named is the
 * caller's to limit, as the kubelet does it.
 */
export async function updateSandboxResources(
  runtime: Runtime,
  id: string,
  change: PodResources,
): Promise<void> {
  await runtime.plugins.updatePodSandbox(existing(runtime, id), change);
  await runtime.locks.run(id, async () => {
    const record = existing(runtime, id);
    const before = sandboxConfig(record).linux;
    const merged: PodResources = {
      resources: change.resources && mergeResources(before?.resources, change.resources),
      overhead: change.overhead && mergeResources(before?.overhead, change.overhead),
    };
    const after = {
      resources: merged.resources ?? before?.resources,
      overhead: merged.overhead ?? before?.overhead,
    };
    const takeBack = await enforce(runtime, record, podLimits(after));
    try {
      store(runtime, existing(runtime, id), after);
    } catch (error) {
      await takeBack();
      throw error;
    }
  });
  const updated = runtime.sandboxes.get(id);
  if (updated !== undefined) await runtime.plugins.postUpdatePodSandbox(updated);
}

function existing(runtime: Runtime, id: string): SandboxRecord {
  const record = runtime.sandboxes.get(id);
  if (record === undefined) throw new NotFoundError(`sandbox ${id} does not exist`);
  return record;
}

/**
 * Limits the cgroup of a pod that is being made as updates do later: only where podrt chose it. Its pause runs by
 * then, so that a limit which leaves no room for it is refused, and kills nothing.
 */
export async function limitNewPod(runtime: Runtime, record: SandboxRecord): Promise<void> {
  if (!record.ownsCgroupParent) return;
  const { resources, overhead } = sandboxConfig(record).linux ?? {};
  await limit(runtime, record, podLimits({ resources, overhead }));
}

async function enforce(
  runtime: Runtime,
  record: SandboxRecord,
  limits: LinuxContainerResources,
): Promise<() => Promise<void>> {
  if (!record.ownsCgroupParent || !isReady(record)) return async () => {};
  return limit(runtime, record, limits);
}

function limit(
  runtime: Runtime,
  record: SandboxRecord,
  limits: LinuxContainerResources,
): Promise<() => Promise<void>> {
  const cgroup = openCgroup(runtime.cgroups, dirname(record.cgroupPath));
  return applyUpdate(cgroup, `pod ${record.namespace}/${record.name}`, limits, limits);
}

const DEFAULT_PERIOD_US = 100_000n;

/** The limits of a pod's cgroup: those of its resources, each raised by the overhead. */
export function podLimits({ resources, overhead }: PodResources): LinuxContainerResources {
  if (resources === undefined || overhead === undefined) {
    // An overhead alone is an addition to no limit.
    return resources ?? create(LinuxContainerResourcesSchema);
  }
  const raised = (limit: bigint, by: bigint) => (limit > 0n && by > 0n ? limit + by : limit);
  const period = resources.cpuPeriod || DEFAULT_PERIOD_US;
  const overheadQuota = (overhead.cpuQuota * period) / (overhead.cpuPeriod || DEFAULT_PERIOD_US);
  const limits = clone(LinuxContainerResourcesSchema, resources);
  limits.cpuQuota = raised(resources.cpuQuota, overheadQuota);
  limits.cpuShares = raised(resources.cpuShares, overhead.cpuShares);
  limits.memoryLimitInBytes = raised(resources.memoryLimitInBytes, overhead.memoryLimitInBytes);
  limits.memorySwapLimitInBytes = raised(resources.memorySwapLimitInBytes, overhead.memoryLimitInBytes);
  return limits;
}

function store(runtime: Runtime, record: SandboxRecord, { resources, overhead }: PodResources): void {
  const config = clone(PodSandboxConfigSchema, sandboxConfig(record));
  config.linux ??= create(LinuxPodSandboxConfigSchema);
  if (resources !== undefined) config.linux.resources = resources;
  if (overhead !== undefined) config.linux.overhead = overhead;
  runtime.sandboxes.put(record.id, { ...record, config: keptSandboxConfig(config) });
}

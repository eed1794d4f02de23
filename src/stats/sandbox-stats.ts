// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { sandboxConfig } from "../container/records.ts";
import { nowNs } from "../container/runtime.ts";
import { NotFoundError } from "../errors.ts";
import {
  type ContainerStats,
  NamespaceMode,
  type NetworkUsageSchema,
  type PodSandboxStats,
  PodSandboxStatsSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { oncePer } from "../lib/once-per.ts";
import type { MemoryStats } from "../linux/cgroup/memory-stats.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import type { CgroupSample } from "./cgroup-samples.ts";
import { containerStats } from "./container-stats.ts";
import type { Instruments } from "./instruments.ts";
import { cpuUsage, interfaceUsage, ioUsage, memoryUsage, uint64 } from "./messages.ts";
import type { Pod } from "./pods.ts";
import type { Patience } from "./writable-layers.ts";

/** The interface that a pod's address is on, with every kind of network. */
const DEFAULT_INTERFACE = "eth0";

/** What a pod uses; NotFoundError when it ends meanwhile. */
export async function sandboxStats(
  instruments: Instruments,
  pod: Pod,
  patience: Patience,
): Promise<PodSandboxStats> {
  const { sandbox } = pod;
  const containers: ContainerStats[] = [];
  for (const record of pod.running) containers.push(await containerStats(instruments, record, patience));
  // After its members, so that the pod has never used less than they have.
  const sample = sampleOf(instruments, pod);
  const network = hasOwnNetwork(sandbox) ? networkUsage(instruments, sandbox) : undefined;
  const { count, atNs } = processesOf(instruments, pod);
  const { id, name, uid, namespace, attempt } = sandbox;
  const { labels, annotations } = configured(sandbox);
  return create(PodSandboxStatsSchema, {
    attributes: { id, metadata: { name, uid, namespace, attempt }, labels, annotations },
    linux: {
      cpu: cpuUsage(sample),
      memory: memoryUsage(sample),
      network,
      process: { timestamp: atNs, processCount: uint64(count) },
      containers,
      io: ioUsage(sample),
    },
  });
}

/** Of a pod in the host's network nobody can tell what is its own traffic. */
export function hasOwnNetwork(sandbox: SandboxRecord): boolean {
  return configured(sandbox).network !== NamespaceMode.NODE;
}

/** What each look needs of the configuration, which is not parsed again for it. */
const configured = oncePer((sandbox: SandboxRecord) => {
  const { labels, annotations, linux } = sandboxConfig(sandbox);
  return { labels, annotations, network: linux?.securityContext?.namespaceOptions?.network };
});

function networkUsage(
  instruments: Instruments,
  sandbox: SandboxRecord,
): MessageInitShape<typeof NetworkUsageSchema> {
  const { value: interfaces, atNs } = instruments.interfaces(sandbox);
  const own = interfaces.find(({ name }) => name === DEFAULT_INTERFACE);
  return {
    timestamp: atNs,
    ...(own === undefined ? {} : { defaultInterface: interfaceUsage(own) }),
    interfaces: interfaces.filter((counters) => counters !== own).map(interfaceUsage),
  };
}

function processesOf(instruments: Instruments, { cgroups }: Pod): { count: number; atNs: bigint } {
  const found = cgroups.map(({ id, path }) => instruments.cgroups.processes(id, path));
  return {
    count: found.reduce((sum, { value }) => sum + value, 0),
    atNs: found[0]?.atNs ?? BigInt(nowNs()),
  };
}

function sampleOf(instruments: Instruments, { sandbox, cgroups }: Pod): CgroupSample {
  const samples = cgroups.flatMap(({ id, path }) => {
    try {
      return [instruments.cgroups.sample(id, path)];
    } catch (error) {
      // Of the members one may have ended; the pod itself is then still there.
      if (error instanceof NotFoundError && id !== sandbox.id) return [];
      throw error;
    }
  });
  const [first, ...others] = samples as [CgroupSample, ...CgroupSample[]];
  return others.length === 0 ? first : others.reduce(plus, first);
}

function plus(a: CgroupSample, b: CgroupSample): CgroupSample {
  return {
    ...a,
    cpuUsageNs: both(a.cpuUsageNs, b.cpuUsageNs, (x, y) => x + y),
    nanoCores: both(a.nanoCores, b.nanoCores, (x, y) => x + y),
    memory: both(a.memory, b.memory, plusMemory),
    // Shares of time cannot be added up.
    pressures: { cpu: undefined, memory: undefined, io: undefined },
  };
}

function plusMemory(a: MemoryStats, b: MemoryStats): MemoryStats {
  return {
    usageBytes: a.usageBytes + b.usageBytes,
    workingSetBytes: a.workingSetBytes + b.workingSetBytes,
    rssBytes: a.rssBytes + b.rssBytes,
    pageFaults: a.pageFaults + b.pageFaults,
    majorPageFaults: a.majorPageFaults + b.majorPageFaults,
    swapBytes: both(a.swapBytes, b.swapBytes, (x, y) => x + y),
    limitBytes: undefined,
    swapLimitBytes: undefined,
  };
}

function both<T>(a: T | undefined, b: T | undefined, add: (a: T, b: T) => T): T | undefined {
  return a === undefined || b === undefined ? undefined : add(a, b);
}

// SPDX-License-Identifier: Apache-2.0
import type { ContainerMetrics, ContainerStats, PodSandboxStats } from "../../gen/runtime/v1/api_pb.ts";
import { type Daemon, promptly } from "../client.ts";
import { type Inventory, takeInventory } from "../inventory.ts";

/** What everything uses at one moment. */
export interface Sample {
  readonly inventory: Inventory;
  /** Counters and gauges by the id of the sandbox or container; those that do not run have none. */
  readonly readings: ReadonlyMap<string, Reading>;
}

/** Undefined what the machine does not tell. */
export interface Reading {
  /** Nanoseconds since 1970. */
  readonly atNs: bigint;
  /** Of processors, since the beginning. */
  readonly cpuNs: bigint | undefined;
  readonly memoryBytes: number | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly processes: number | undefined;
  /** Bytes since the beginning. */
  readonly received: number | undefined;
  readonly sent: number | undefined;
  readonly read: number | undefined;
  readonly written: number | undefined;
}

export async function takeSample(daemon: Daemon): Promise<Sample> {
  const [inventory, pods, metrics] = await Promise.all([
    takeInventory(daemon),
    podStats(daemon),
    containerMetrics(daemon),
  ]);
  const readings = new Map<string, Reading>();
  for (const pod of pods) {
    const containers = pod.linux?.containers ?? [];
    const own = containers.map((container) =>
      readingOf(container, metrics.get(container.attributes?.id ?? "")),
    );
    for (const [index, { attributes }] of containers.entries())
      readings.set(attributes?.id ?? "", own[index]!);
    readings.set(pod.attributes?.id ?? "", podReading(pod, own));
  }
  return { inventory, readings };
}

async function podStats(daemon: Daemon): Promise<PodSandboxStats[]> {
  const found: PodSandboxStats[] = [];
  for await (const { podSandboxStats } of daemon.runtime.streamPodSandboxStats({}, promptly())) {
    found.push(...podSandboxStats);
  }
  return found;
}

async function containerMetrics(daemon: Daemon): Promise<Map<string, ContainerMetrics["metrics"]>> {
  const found = new Map<string, ContainerMetrics["metrics"]>();
  for await (const { podSandboxMetrics } of daemon.runtime.streamPodSandboxMetrics({}, promptly())) {
    for (const { containerMetrics } of podSandboxMetrics) {
      for (const { containerId, metrics } of containerMetrics) found.set(containerId, metrics);
    }
  }
  return found;
}

type Cgroup = Pick<ContainerStats, "cpu" | "memory">;

function cgroupReading({ cpu, memory }: Cgroup) {
  const memoryBytes = numberOf(memory?.workingSetBytes);
  const available = numberOf(memory?.availableBytes);
  return {
    atNs: cpu?.timestamp ?? 0n,
    cpuNs: cpu?.usageCoreNanoSeconds?.value,
    memoryBytes,
    memoryLimitBytes:
      memoryBytes === undefined || available === undefined ? undefined : memoryBytes + available,
  };
}

/** The statistics of the interface have neither processes nor block devices of a container: its metrics do. */
function readingOf(container: ContainerStats, metrics: ContainerMetrics["metrics"] = []): Reading {
  const sumOf = (name: string) => {
    const found = metrics.filter((metric) => metric.name === name);
    return found.length === 0
      ? undefined
      : found.reduce((sum, { value }) => sum + Number(value?.value ?? 0n), 0);
  };
  return {
    ...cgroupReading(container),
    processes: sumOf("container_processes"),
    received: undefined,
    sent: undefined,
    read: sumOf("container_fs_reads_bytes_total"),
    written: sumOf("container_fs_writes_bytes_total"),
  };
}

/** The network is the pod's; what it reads and writes is what its containers do. */
function podReading({ linux }: PodSandboxStats, containers: readonly Reading[]): Reading {
  const { network } = linux ?? {};
  const sum = (pick: (reading: Reading) => number | undefined) => {
    const known = containers.map(pick).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b, 0);
  };
  const interfaces = [network?.defaultInterface, ...(network?.interfaces ?? [])].filter(
    (found) => found !== undefined && found.name !== LOOPBACK,
  );
  const traffic = (
    pick: (found: NonNullable<(typeof interfaces)[number]>) => { value: bigint } | undefined,
  ) =>
    network === undefined
      ? undefined
      : interfaces.reduce((total, found) => total + (numberOf(pick(found!)) ?? 0), 0);
  return {
    ...cgroupReading({ cpu: linux?.cpu, memory: linux?.memory } as Cgroup),
    processes: numberOf(linux?.process?.processCount),
    received: traffic(({ rxBytes }) => rxBytes),
    sent: traffic(({ txBytes }) => txBytes),
    read: sum(({ read }) => read),
    written: sum(({ written }) => written),
  };
}

const LOOPBACK = "lo";

function numberOf(value: { readonly value: bigint } | undefined): number | undefined {
  return value === undefined ? undefined : Number(value.value);
}

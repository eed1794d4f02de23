// SPDX-License-Identifier: Apache-2.0
import type { PodSandboxStats } from "../../gen/runtime/v1/api_pb.ts";
import { printable } from "../../lib/foreign-text.ts";
import { type Daemon, promptly } from "../client.ts";
import { age } from "../human.ts";
import { containerName, isRunning, type PodEntry, podTitle, takeInventory } from "../inventory.ts";
import { type NamespaceMap, namespaceMap } from "../map/namespace-map.ts";
import { type PodRow, podRow } from "../pods.ts";

/** So much of a message is shown. */
const MESSAGE_CHARACTERS = 1000;

/** What the page shows of one moment. */
export interface DashboardState {
  readonly map: NamespaceMap;
  readonly pods: readonly PodLine[];
  readonly containers: readonly ContainerLine[];
}

export interface Usage {
  /** Billionths of a processor; undefined where it is not known. */
  readonly nanoCores: bigint | undefined;
  /** Without what the kernel could take back at once. */
  readonly memoryBytes: bigint | undefined;
}

export interface PodLine extends PodRow, Usage {
  readonly title: string;
  readonly age: string;
  /** Since the pod was made; undefined for one in the machine's network. */
  readonly receivedBytes: bigint | undefined;
  readonly sentBytes: bigint | undefined;
}

export interface ContainerLine extends Usage {
  readonly id: string;
  readonly name: string;
  readonly pod: string;
  readonly image: string;
  readonly state: string;
  /** 0 where there is no process. */
  readonly pid: number;
  readonly restarts: number;
  readonly age: string;
}

/** Asks the daemon for everything at once. */
export async function takeState(daemon: Daemon): Promise<DashboardState> {
  const [mapped, inventory, { stats }] = await Promise.all([
    daemon.pods.mapPods({}, promptly()),
    takeInventory(daemon),
    daemon.runtime.listPodSandboxStats({}, promptly()),
  ]);
  const map = namespaceMap(mapped);
  const ofPods = new Map(stats.map((one) => [one.attributes?.id ?? "", one]));
  const pods = inventory.pods.map(async (pod) =>
    podLine(pod, await podRow(daemon, pod), ofPods.get(pod.sandbox?.id ?? "")),
  );
  return {
    map,
    pods: await Promise.all(pods),
    containers: inventory.pods.flatMap((pod) => containerLines(pod, map, ofPods.get(pod.sandbox?.id ?? ""))),
  };
}

function podLine(pod: PodEntry, row: PodRow, stats: PodSandboxStats | undefined): PodLine {
  const { cpu, memory, network } = stats?.linux ?? {};
  return {
    ...row,
    title: podTitle(pod),
    message: printable(row.message, MESSAGE_CHARACTERS),
    age: age(pod.createdAtNs),
    nanoCores: cpu?.usageNanoCores?.value,
    memoryBytes: memory?.workingSetBytes?.value,
    receivedBytes: network?.defaultInterface?.rxBytes?.value,
    sentBytes: network?.defaultInterface?.txBytes?.value,
  };
}

/** As the map has them: of each name the newest, in the order in which they were made. */
function containerLines(
  pod: PodEntry,
  { pods }: NamespaceMap,
  stats: PodSandboxStats | undefined,
): ContainerLine[] {
  const processes = pods.find(({ id }) => id === pod.sandbox?.id)?.processes ?? [];
  const listed = new Map(pod.containers.map((container) => [container.id, container]));
  return processes.flatMap(({ id, image, pid }) => {
    const container = listed.get(id);
    if (container === undefined) return [];
    const usage = stats?.linux?.containers.find(({ attributes }) => attributes?.id === id);
    return [
      {
        id,
        name: containerName(container),
        pod: podTitle(pod),
        image: container.image?.userSpecifiedImage || image,
        state: isRunning(container) ? "Running" : pid === 0 ? "Ended" : "Starting",
        pid,
        restarts: container.metadata?.attempt ?? 0,
        age: age(container.createdAt),
        nanoCores: usage?.cpu?.usageNanoCores?.value,
        memoryBytes: usage?.memory?.workingSetBytes?.value,
      },
    ];
  });
}

// SPDX-License-Identifier: Apache-2.0
import type { Container } from "../../gen/runtime/v1/api_pb.ts";
import { containerName, containersOf, hasEnded, isRunning, type PodEntry, podTitle } from "../inventory.ts";
import { statusOf } from "../pods.ts";
import type { Reading, Sample } from "./sample.ts";

/** What a pod or container uses; undefined what nobody can tell. */
export interface Usage {
  /** NAMESPACE/NAME, without the default namespace. */
  readonly pod: string;
  /** Undefined for the pod itself. */
  readonly container: string | undefined;
  /** Of the sandbox or container; empty where there is none. */
  readonly id: string;
  /** A word, as in `podrt pods` and `podrt ps`. */
  readonly state: string;
  /** Whether there is anything to measure. */
  readonly isMeasured: boolean;
  readonly restarts: number;
  /** 100 is one processor. */
  readonly cpuPercent: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly processes: number | undefined;
  /** Bytes since it was started. */
  readonly received: number | undefined;
  readonly sent: number | undefined;
  readonly read: number | undefined;
  readonly written: number | undefined;
  /** Bytes a second since the sample before. */
  readonly receivedRate: number | undefined;
  readonly sentRate: number | undefined;
  readonly readRate: number | undefined;
  readonly writtenRate: number | undefined;
}

export interface PodUsage {
  readonly own: Usage;
  readonly containers: readonly Usage[];
}

/** Every pod with its containers, newest first; rates need the sample `before`. */
export function usageOf(sample: Sample, before: Sample | undefined): PodUsage[] {
  return sample.inventory.pods.map((pod) => {
    const measured = (id: string) => figures(sample.readings.get(id), before?.readings.get(id));
    const containers = containerRows(pod).map(({ id, name, ...row }) => ({
      ...row,
      pod: podTitle(pod),
      container: name,
      id,
      ...measured(id),
    }));
    const id = pod.sandbox?.id ?? "";
    return {
      own: {
        pod: podTitle(pod),
        container: undefined,
        id,
        state: statusOf(pod),
        restarts: containers.reduce((sum, { restarts }) => sum + restarts, 0),
        ...measured(id),
      },
      containers,
    };
  });
}

interface Row {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly restarts: number;
}

/** Those that its manifest names, and those that somebody else has made in it. */
function containerRows({ kept, containers }: PodEntry): Row[] {
  const names = [...new Set(containers.toReversed().map(containerName))];
  const planned = kept === undefined ? [] : containersOf(kept);
  const others = names.filter((name) => !planned.some((container) => container.name === name));
  return [
    ...planned.map(({ name, state, reason, containerId, restarts }) => ({
      id: containerId,
      name,
      state: reason === "" ? titled(state) : reason,
      restarts,
    })),
    ...others.map((name) => {
      const newest = containers.find((container) => containerName(container) === name)!;
      return { id: newest.id, name, state: stateOf(newest), restarts: newest.metadata?.attempt ?? 0 };
    }),
  ];
}

function stateOf(container: Container): string {
  return isRunning(container) ? "Running" : hasEnded(container) ? "Exited" : "Created";
}

function titled(word: string): string {
  return `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`;
}

function figures(now: Reading | undefined, before: Reading | undefined) {
  const elapsedNs = now === undefined || before === undefined ? 0 : Number(now.atNs - before.atNs);
  const rate = (pick: (reading: Reading) => number | bigint | undefined): number | undefined => {
    const [later, earlier] = [now && pick(now), before && pick(before)];
    if (later === undefined || earlier === undefined || elapsedNs <= 0) return undefined;
    // A counter that goes back is another container's, or a part of the pod that has ended.
    return Math.max(0, Number(later) - Number(earlier)) / (elapsedNs / 1e9);
  };
  const cpuNsPerSecond = rate(({ cpuNs }) => cpuNs);
  return {
    isMeasured: now !== undefined,
    cpuPercent: cpuNsPerSecond === undefined ? undefined : cpuNsPerSecond / 1e7,
    memoryBytes: now?.memoryBytes,
    memoryLimitBytes: now?.memoryLimitBytes,
    processes: now?.processes,
    received: now?.received,
    sent: now?.sent,
    read: now?.read,
    written: now?.written,
    receivedRate: rate(({ received }) => received),
    sentRate: rate(({ sent }) => sent),
    readRate: rate(({ read }) => read),
    writtenRate: rate(({ written }) => written),
  };
}

/** Of the limit; undefined without one. */
export function memoryPercent({
  memoryBytes,
  memoryLimitBytes,
}: Pick<Usage, "memoryBytes" | "memoryLimitBytes">): number | undefined {
  if (memoryBytes === undefined || !memoryLimitBytes) return undefined;
  return (memoryBytes / memoryLimitBytes) * 100;
}

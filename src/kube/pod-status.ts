// SPDX-License-Identifier: Apache-2.0
import { isOver, mayRun, sidecarsOf, stepsOf } from "./container-order.ts";
import { hasJobSucceeded, jobStep } from "./job.ts";
import type { ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { Pod } from "./pod.ts";
import { readinessOf } from "./pod-probes.ts";
import type { ContainerMemory, PodRecord } from "./pod-record.ts";
import type { ProbeAnswer } from "./prober.ts";
import { NEVER_RAN } from "./restart.ts";
import { POD, type Trouble } from "./troubles.ts";

export type PodPhase = "Pending" | "Running" | "Succeeded" | "Failed" | "Stopping" | "Stopped" | "Deleting";

export interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly state: "waiting" | "running" | "terminated";
  /** As in CrashLoopBackOff, ErrImagePull, Completed; empty when there is nothing to say. */
  readonly reason: string;
  readonly message: string;
  /** Empty while none exists. */
  readonly containerId: string;
  readonly restarts: number;
  /** Of the container that ended last. */
  readonly exitCode: number;
  /** Runs and is ready by its probes; of an init container that is no sidecar, has succeeded. */
  readonly ready: boolean;
  readonly sidecar: boolean;
  /** When it is started or tried again, as Clock.nowMs() counts; 0 when nothing waits. */
  readonly nextTryAtMs: number;
  /** What its startup or readiness probe answered last, while it is not ready and that was no success. */
  readonly probeFailure: string;
}

export interface PodStatus {
  readonly pod: Pod;
  readonly phase: PodPhase;
  readonly reason: string;
  readonly message: string;
  /** Empty while there is no sandbox. */
  readonly sandboxId: string;
  readonly sandboxAttempt: number;
  readonly addresses: readonly string[];
  readonly createdAtNs: string;
  readonly containers: readonly ContainerStatus[];
  readonly initContainers: readonly ContainerStatus[];
  /** When what failed for the pod as a whole is tried again, as Clock.nowMs() counts; 0 when nothing waits. */
  readonly nextTryAtMs: number;
  /** The Job that it is of has succeeded, whatever became of this pod. */
  readonly jobSucceeded: boolean;
}

export interface StatusDeps {
  /** The other pods of the same Job. */
  readonly others?: readonly PodRecord[];
  readonly lastAnswer?: (containerId: string) => ProbeAnswer | undefined;
}

/** What a kept pod is doing, from its record, the runtime's view and what its worker suffers from. */
export function podStatus(
  record: PodRecord,
  troubles: ReadonlyMap<string, Trouble>,
  lifecycle: Pick<Lifecycle, "sandboxesOf" | "containersOf">,
  { others = [], lastAnswer = () => undefined }: StatusDeps = {},
): PodStatus {
  const { pod } = record;
  const sandbox = lifecycle.sandboxesOf(pod).toSorted((a, b) => b.attempt - a.attempt)[0];
  const views = sandbox === undefined ? [] : lifecycle.containersOf(sandbox.id);
  const statusOf = (container: ContainerSpec) =>
    containerStatus(container, record, { trouble: troubles.get(container.name), views, lastAnswer });
  const containers = pod.spec.containers.map(statusOf);
  const initContainers = (pod.spec.initContainers ?? []).map(statusOf);
  const trouble = troubles.get(POD);
  return {
    pod,
    phase: phaseOf(record, { containers, initContainers, isReady: sandbox?.isReady ?? false, others }),
    reason: trouble?.reason ?? record.failure?.reason ?? "",
    message: trouble?.message ?? record.failure?.message ?? endMessage(record, sandbox),
    sandboxId: sandbox?.id ?? "",
    sandboxAttempt: sandbox?.attempt ?? 0,
    addresses: sandbox?.isReady ? sandbox.addresses : [],
    createdAtNs: record.createdAtNs,
    containers,
    initContainers,
    nextTryAtMs: record.ending === undefined ? (trouble?.notBeforeMs ?? record.retryAtMs ?? 0) : 0,
    jobSucceeded: hasJobSucceeded(record, others),
  };
}

function containerStatus(
  container: ContainerSpec,
  record: PodRecord,
  {
    trouble,
    views,
    lastAnswer,
  }: {
    readonly trouble: Trouble | undefined;
    readonly views: readonly ContainerView[];
    readonly lastAnswer: (containerId: string) => ProbeAnswer | undefined;
  },
): ContainerStatus {
  const { name, image } = container;
  const { spec } = record.pod;
  const memory = memoryIn(record)(name);
  const newest = views.filter((view) => view.name === name).toSorted((a, b) => b.attempt - a.attempt)[0];
  const common = {
    name,
    image,
    containerId: newest?.id ?? "",
    restarts: Math.max(0, memory.nextAttempt - 1),
    exitCode: memory.lastExit?.exitCode ?? 0,
    ready: false,
    sidecar: sidecarsOf(spec).includes(container),
    nextTryAtMs: 0,
    probeFailure: "",
  };
  if (newest?.state === "running") {
    const ready = !stepsOf(spec).includes(container) && readinessOf(container, newest, memory).ready;
    const ending = memory.unhealthy?.containerId === newest.id ? memory.unhealthy.message : "";
    return {
      ...common,
      state: "running",
      reason: "",
      message: ending,
      ready: ready && ending === "",
      probeFailure: ready ? "" : failureText(lastAnswer(newest.id)),
    };
  }
  if (trouble !== undefined) {
    return {
      ...common,
      state: "waiting",
      reason: trouble.reason,
      message: trouble.message,
      nextTryAtMs: trouble.notBeforeMs,
    };
  }
  if (
    record.ending !== undefined ||
    record.failure !== undefined ||
    isOver(spec, memoryIn(record)) ||
    !mayRun(spec, container, { memory, newest })
  ) {
    if (memory.lastExit === undefined) return { ...common, state: "waiting", reason: "", message: "" };
    const { reason, message, exitCode } = memory.lastExit;
    const ready = stepsOf(spec).includes(container) && exitCode === 0;
    return { ...common, state: "terminated", reason, message, ready };
  }
  if (memory.lastExit === undefined) {
    const reason = spec.initContainers === undefined ? "ContainerCreating" : "PodInitializing";
    return { ...common, state: "waiting", reason, message: "" };
  }
  const { reason, exitCode, message } = memory.lastExit;
  const last = `ended last with ${reason} and exit code ${exitCode}${message === "" ? "" : `: ${message}`}`;
  return {
    ...common,
    state: "waiting",
    reason: "CrashLoopBackOff",
    message: last,
    nextTryAtMs: memory.notBeforeMs,
  };
}

function failureText(answer: ProbeAnswer | undefined): string {
  if (answer?.failure === undefined) return "";
  const { probe, failure, failures, atMs } = answer;
  const times = failures === 1 ? "failed" : `failed ${failures} times in a row, last`;
  return `the ${probe} probe ${times} at ${new Date(atMs).toISOString()}: ${failure}`;
}

function phaseOf(
  record: PodRecord,
  {
    containers,
    initContainers,
    isReady,
    others,
  }: Pick<PodStatus, "containers" | "initContainers"> & {
    readonly isReady: boolean;
    readonly others: readonly PodRecord[];
  },
): PodPhase {
  if (record.ending?.remove) return "Deleting";
  if (record.ending !== undefined) return isReady ? "Stopping" : "Stopped";
  const { spec } = record.pod;
  const isStill = [...containers, ...initContainers].every(({ state }) => state !== "running");
  const memories = containers.map(({ name }) => memoryIn(record)(name));
  // The ends of its containers are known once the sandbox is stopped.
  if (isStill && record.failure !== undefined && !isReady) return "Failed";
  // A Job's pod that is run once more has not failed yet, nor has one before it is written down why.
  if (isStill && jobStep(record, 0, others) !== undefined) return "Pending";
  if (isStill && isOver(spec, memoryIn(record))) {
    return memories.every(({ lastExit }) => lastExit?.exitCode === 0) ? "Succeeded" : "Failed";
  }
  const haveAllStarted = containers.every(
    ({ state }, i) => state === "running" || memories[i]!.lastExit !== undefined,
  );
  return haveAllStarted ? "Running" : "Pending";
}

function memoryIn(record: PodRecord): (name: string) => ContainerMemory {
  return (name) => record.containers[name] ?? NEVER_RAN;
}

/** Nothing where podrt itself stopped the sandbox. */
function endMessage(record: PodRecord, sandbox: SandboxView | undefined): string {
  if (record.ending !== undefined) return "";
  const endReason = sandbox?.id === record.finishedSandboxId ? "" : (sandbox?.endReason ?? "");
  if (endReason !== "") return `the sandbox ended: ${endReason}`;
  return record.lastSandboxEnd === undefined ? "" : `the sandbox was replaced: ${record.lastSandboxEnd}`;
}

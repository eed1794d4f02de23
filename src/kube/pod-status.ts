// SPDX-License-Identifier: Apache-2.0
import type { ContainerView, Lifecycle, SandboxView } from "./lifecycle.ts";
import type { Pod } from "./pod.ts";
import type { PodRecord } from "./pod-record.ts";
import { NEVER_RAN, shouldStart } from "./restart.ts";
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
}

/** What a kept pod is doing, from its record, the runtime's view and what its worker suffers from. */
export function podStatus(
  record: PodRecord,
  troubles: ReadonlyMap<string, Trouble>,
  lifecycle: Pick<Lifecycle, "sandboxesOf" | "containersOf">,
): PodStatus {
  const { pod } = record;
  const sandbox = lifecycle.sandboxesOf(pod).toSorted((a, b) => b.attempt - a.attempt)[0];
  const views = sandbox === undefined ? [] : lifecycle.containersOf(sandbox.id);
  const containers = pod.spec.containers.map((container) =>
    containerStatus(container, record, troubles.get(container.name), views),
  );
  const trouble = troubles.get(POD);
  return {
    pod,
    phase: phaseOf(record, containers, sandbox?.isReady ?? false),
    reason: trouble?.reason ?? "",
    message: trouble?.message ?? endMessage(record, sandbox),
    sandboxId: sandbox?.id ?? "",
    sandboxAttempt: sandbox?.attempt ?? 0,
    addresses: sandbox?.isReady ? sandbox.addresses : [],
    createdAtNs: record.createdAtNs,
    containers,
  };
}

function containerStatus(
  { name, image }: { readonly name: string; readonly image: string },
  record: PodRecord,
  trouble: Trouble | undefined,
  views: readonly ContainerView[],
): ContainerStatus {
  const memory = record.containers[name] ?? NEVER_RAN;
  const newest = views.filter((view) => view.name === name).toSorted((a, b) => b.attempt - a.attempt)[0];
  const common = {
    name,
    image,
    containerId: newest?.id ?? "",
    restarts: Math.max(0, memory.nextAttempt - 1),
    exitCode: memory.lastExit?.exitCode ?? 0,
  };
  if (newest?.state === "running") return { ...common, state: "running", reason: "", message: "" };
  if (trouble !== undefined) {
    return { ...common, state: "waiting", reason: trouble.reason, message: trouble.message };
  }
  if (record.ending !== undefined || !shouldStart(record.pod.spec, memory)) {
    const { reason = "", message = "" } = memory.lastExit ?? {};
    return { ...common, state: memory.lastExit === undefined ? "waiting" : "terminated", reason, message };
  }
  if (memory.lastExit === undefined) {
    return { ...common, state: "waiting", reason: "ContainerCreating", message: "" };
  }
  const { reason, exitCode, message } = memory.lastExit;
  const last = `ended last with ${reason} and exit code ${exitCode}${message === "" ? "" : `: ${message}`}`;
  return { ...common, state: "waiting", reason: "CrashLoopBackOff", message: last };
}

function phaseOf(record: PodRecord, containers: readonly ContainerStatus[], isReady: boolean): PodPhase {
  if (record.ending?.remove) return "Deleting";
  if (record.ending !== undefined) return isReady ? "Stopping" : "Stopped";
  const { spec } = record.pod;
  const memories = containers.map(({ name }) => record.containers[name] ?? NEVER_RAN);
  const isOver = containers.every(({ state }, i) => state !== "running" && !shouldStart(spec, memories[i]!));
  if (isOver) return memories.every(({ lastExit }) => lastExit?.exitCode === 0) ? "Succeeded" : "Failed";
  const haveAllStarted = containers.every(
    ({ state }, i) => state === "running" || memories[i]!.lastExit !== undefined,
  );
  return haveAllStarted ? "Running" : "Pending";
}

/** Nothing where podrt itself stopped the sandbox. */
function endMessage(record: PodRecord, sandbox: SandboxView | undefined): string {
  if (record.ending !== undefined) return "";
  const endReason = sandbox?.id === record.finishedSandboxId ? "" : (sandbox?.endReason ?? "");
  if (endReason !== "") return `the sandbox ended: ${endReason}`;
  return record.lastSandboxEnd === undefined ? "" : `the sandbox was replaced: ${record.lastSandboxEnd}`;
}

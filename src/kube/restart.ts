// SPDX-License-Identifier: Apache-2.0
import { matchesExitCode } from "./exit-codes.ts";
import type { ContainerView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { ContainerExit, ContainerMemory } from "./pod-record.ts";

/** Waits that double from `firstMs` to `maxMs`. */
export interface BackOff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** A container that ran so long is not taken to be crashing. */
const HEALTHY_RUN_MS = 600_000;

export const NEVER_RAN: ContainerMemory = { nextAttempt: 0, crashes: 0, notBeforeMs: 0 };

/** The wait after the n-th failure in a row, n from 1. */
export function failureDelayMs(failures: number, backOff: BackOff): number {
  return Math.min(backOff.maxMs, backOff.firstMs * 2 ** Math.min(failures - 1, 30));
}

/** As a kubelet waits: the first restart comes at once, the second after `firstMs`, then ever later. */
function restartDelayMs(crashes: number, backOff: BackOff): number {
  return crashes <= 1 ? 0 : failureDelayMs(crashes - 1, backOff);
}

/**
 * What is remembered after `container` ended. When the whole sandbox died the exit is no crash of the
 * container's, so it neither counts nor waits.
 */
export function afterExit(
  memory: ContainerMemory,
  container: ContainerView,
  cause: "crash" | "sandbox",
  nowMs: number,
  backOff: BackOff,
): ContainerMemory {
  if (memory.lastExit?.containerId === container.id) return memory;
  const finishedMs = toMs(container.finishedAtNs) ?? nowMs;
  const ranMs = finishedMs - (toMs(container.startedAtNs) ?? finishedMs);
  const unhealthy = memory.unhealthy?.containerId === container.id ? memory.unhealthy : undefined;
  const crashes = cause === "sandbox" ? memory.crashes : ranMs >= HEALTHY_RUN_MS ? 1 : memory.crashes + 1;
  return {
    nextAttempt: Math.max(memory.nextAttempt, container.attempt + 1),
    crashes,
    // Not from the container's times on: the clock that they are of may have been set since.
    notBeforeMs: cause === "sandbox" ? 0 : nowMs + restartDelayMs(crashes, backOff),
    lastExit: {
      containerId: container.id,
      attempt: container.attempt,
      exitCode: container.exitCode,
      reason: container.reason,
      message: [unhealthy?.message ?? "", container.message].filter((part) => part !== "").join(": "),
      finishedAtNs: container.finishedAtNs ?? `${BigInt(Math.trunc(nowMs)) * 1_000_000n}`,
      ...(unhealthy === undefined ? {} : { isUnhealthy: true }),
    },
  };
}

/** Whether a container that is not running is to run: always at first, then by its policy. */
export function shouldStart(spec: PodSpec, container: ContainerSpec, { lastExit }: ContainerMemory): boolean {
  return lastExit === undefined || isStartedAgain(spec, container, lastExit);
}

/** Whether a container is started again after an end: by its own rules and policy, or without one by the pod's. */
export function isStartedAgain(spec: PodSpec, container: ContainerSpec, exit: Ending): boolean {
  const { restartPolicy, restartPolicyRules = [] } = container;
  if (restartPolicyRules.some(({ exitCodes }) => matchesExitCode(exitCodes, exit.exitCode))) return true;
  const policy = restartPolicy ?? spec.restartPolicy ?? "Always";
  return policy === "Always" || (policy === "OnFailure" && hasFailed(exit));
}

type Ending = Pick<ContainerExit, "exitCode" | "isUnhealthy">;

/** One that was ended for what a probe said has failed, whatever it made of the stop signal. */
function hasFailed({ exitCode, isUnhealthy }: Ending): boolean {
  return exitCode !== 0 || isUnhealthy === true;
}

function toMs(ns: string | undefined): number | undefined {
  return ns === undefined ? undefined : Number(BigInt(ns) / 1_000_000n);
}

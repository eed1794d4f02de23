// SPDX-License-Identifier: Apache-2.0
import { allContainers, isOver } from "./container-order.ts";
import type { ContainerMemory, PodRecord } from "./pod-record.ts";
import { type BackOff, failureDelayMs, NEVER_RAN } from "./restart.ts";

/** Between the attempts of a Job (batch/v1): 10 seconds, doubling to 6 minutes. */
const RETRY_BACK_OFF: BackOff = { firstMs: 10_000, maxMs: 360_000 };

/** What a Job makes of how its pod stands; undefined where it leaves the pod alone. */
export type JobStep =
  | { readonly kind: "give up"; readonly message: string }
  /** The pod is to run anew, as it was at first, but not before `atMs` of the record's clock. */
  | { readonly kind: "retry"; readonly atMs: number; readonly retries: number };

/**
 * What follows from the failures of a Job's pod. With restartPolicy OnFailure its containers are started
 * again as any, and are counted; with Never the whole pod is run once more.
 */
export function jobStep(record: PodRecord, nowMs: number): JobStep | undefined {
  const { pod } = record;
  if (pod.job === undefined || record.failure !== undefined) return undefined;
  const { backoffLimit } = pod.job;
  const memoryOf = (name: string) => record.containers[name] ?? NEVER_RAN;
  if (pod.spec.restartPolicy === "OnFailure") {
    const failures = allContainers(pod.spec)
      .map(({ name }) => failuresOf(memoryOf(name)))
      .reduce((sum, count) => sum + count, 0);
    return failures > backoffLimit ? giveUp(failures, backoffLimit) : undefined;
  }
  if (!isOver(pod.spec, memoryOf) || !hasFailed(record)) return undefined;
  const { retries = 0, retryAtMs } = record;
  if (retries >= backoffLimit) return giveUp(retries + 1, backoffLimit);
  return {
    kind: "retry",
    retries: retries + 1,
    atMs: retryAtMs ?? nowMs + failureDelayMs(retries + 1, RETRY_BACK_OFF),
  };
}

/** The record of a pod that begins anew; its attempts are counted on, so that no log is written over. */
export function begunAnew(record: PodRecord, retries: number): Partial<PodRecord> {
  const containers = Object.entries(record.containers).map(
    ([name, { nextAttempt }]) => [name, { ...NEVER_RAN, nextAttempt }] as const,
  );
  return { containers: Object.fromEntries(containers), retries, retryAtMs: undefined };
}

function giveUp(failures: number, backoffLimit: number): JobStep {
  const times = failures === 1 ? "once" : `${failures} times`;
  return { kind: "give up", message: `the Job failed ${times}; its backoffLimit is ${backoffLimit}` };
}

function failuresOf({ nextAttempt, lastExit }: ContainerMemory): number {
  // Each attempt but the last was followed by another since it had failed.
  const isLast = lastExit !== undefined && lastExit.attempt === nextAttempt - 1;
  return Math.max(0, nextAttempt - 1) + (isLast && lastExit.exitCode !== 0 ? 1 : 0);
}

function hasFailed({ containers }: PodRecord): boolean {
  return Object.values(containers).some(({ lastExit }) => lastExit !== undefined && lastExit.exitCode !== 0);
}

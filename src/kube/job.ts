// SPDX-License-Identifier: Apache-2.0
import { allContainers, isOver, stepsOf } from "./container-order.ts";
import { areEnough, type FailureVerdict, failureVerdict } from "./job-policies.ts";
import type { ContainerMemory, PodRecord } from "./pod-record.ts";
import { type BackOff, failureDelayMs, NEVER_RAN } from "./restart.ts";

/*
 * A Job of several pods is pods that know of each other: each is kept by its own worker, which looks at the records
 * of the others. Nothing of the whole Job is written down that a daemon would have to make agree with them.
 */

/** Between the attempts of a Job (batch/v1): 10 seconds, doubling to 6 minutes. */
const RETRY_BACK_OFF: BackOff = { firstMs: 10_000, maxMs: 360_000 };

/** What a Job makes of how its pod stands; undefined where it leaves the pod alone. */
export type JobStep =
  | { readonly kind: "give up"; readonly reason: string; readonly message: string }
  /** The pod is to run anew, as it was at first, but not before `atMs` of the record's clock. */
  | {
      readonly kind: "retry";
      readonly atMs: number;
      readonly retries: number;
      /** Of its retries, those that followed a failure which does not count. */
      readonly ignored: number;
    }
  /** The Job has succeeded without it. */
  | { readonly kind: "needless" };

/**
 * What follows from the failures of a Job's pod and of the `others` of the same Job. With restartPolicy OnFailure its
 * containers are started again as any, and are counted; with Never the whole pod is run once more.
 */
export function jobStep(
  record: PodRecord,
  nowMs: number,
  others: readonly PodRecord[] = [],
): JobStep | undefined {
  const { pod } = record;
  if (pod.job === undefined || record.failure !== undefined) return undefined;
  const end = hasSucceeded(record) ? undefined : endOfAll(record, others);
  if (end !== undefined) return end;
  if (!hasSucceeded(record) && hasEnough(record, others)) return { kind: "needless" };
  const verdict = verdictOn(record);
  if (verdict?.action === "FailJob") return { kind: "give up", reason: FAIL_JOB, message: verdict.message };
  if (verdict?.action === "FailIndex") {
    return { kind: "give up", reason: "FailedIndex", message: verdict.message };
  }
  const counted = pod.job.isLimitPerIndex ? [] : others;
  const failures = [record, ...counted].map(failuresOf).reduce((sum, count) => sum + count, 0);
  const { backoffLimit } = pod.job;
  if (failures > backoffLimit && !hasSucceeded(record))
    return giveUp(failures, backoffLimit, counted.length > 0);
  // Of pods that take from a queue, one that succeeds has seen the end of it.
  if (verdict === undefined || (pod.job.isQueue && others.some(hasSucceeded))) return undefined;
  const { retries = 0, ignored = 0, retryAtMs } = record;
  return {
    kind: "retry",
    retries: retries + 1,
    ignored: ignored + (verdict.action === "Ignore" ? 1 : 0),
    atMs: retryAtMs ?? nowMs + failureDelayMs(retries + 1, RETRY_BACK_OFF),
  };
}

/** The record of a pod that begins anew; its attempts are counted on, so that no log is written over. */
export function begunAnew(
  record: PodRecord,
  { retries, ignored }: Extract<JobStep, { readonly kind: "retry" }>,
): Partial<PodRecord> {
  const containers = Object.entries(record.containers).map(
    ([name, { nextAttempt }]) => [name, { ...NEVER_RAN, nextAttempt }] as const,
  );
  return { containers: Object.fromEntries(containers), retries, ignored, retryAtMs: undefined };
}

/** Why a pod of a Job is not to begin yet; undefined where it may. */
export function reasonToWait(record: PodRecord, others: readonly PodRecord[]): string | undefined {
  const { job } = record.pod;
  if (job === undefined) return undefined;
  if (job.suspend) return "the Job is suspended";
  const { parallelism = 1, index = 0 } = job;
  if (parallelism === 0) return "the Job's parallelism is 0";
  // By their numbers, so that one that has begun never has to wait for one that has not.
  const all = [record, ...others];
  const before = others.filter((other) => {
    const rest = all.filter((one) => one !== other);
    return (other.pod.job?.index ?? 0) < index && !isDone(other, rest);
  });
  return before.length < parallelism
    ? undefined
    : `${parallelism === 1 ? "another pod of the Job runs" : `${parallelism} other pods of the Job run`} before it`;
}

/** Whether nothing more comes of a Job's pod. */
export function isDone(record: PodRecord, others: readonly PodRecord[]): boolean {
  if (record.failure !== undefined || record.ending !== undefined) return true;
  return isOver(record.pod.spec, memoryIn(record)) && jobStep(record, 0, others) === undefined;
}

/** When a Job's pod is removed, on the record's clock; undefined while the Job is not finished, or is to stay. */
export function expiryMs(record: PodRecord, others: readonly PodRecord[]): number | undefined {
  const seconds = record.pod.job?.ttlSecondsAfterFinished;
  const ends = [record, ...others].map(({ finishedAtMs }) => finishedAtMs);
  if (seconds === undefined || ends.some((ms) => ms === undefined)) return undefined;
  return Math.max(...ends.map(Number)) + seconds * 1000;
}

/** The reason of a pod whose end was the whole Job's, by a rule. */
const FAIL_JOB = "PodFailurePolicy";

/** What becomes of a pod that has ended badly, which one does not whose containers are started again. */
function verdictOn(record: PodRecord): FailureVerdict | undefined {
  const hasEndedBadly = isOver(record.pod.spec, memoryIn(record)) && hasFailed(record);
  return hasEndedBadly ? failureVerdict(record) : undefined;
}

/** Whether the Job of a pod has succeeded, which it may have with pods that have failed: others were enough for it. */
export function hasJobSucceeded(record: PodRecord, others: readonly PodRecord[]): boolean {
  const { job } = record.pod;
  if (job === undefined) return false;
  return job.isQueue ? others.some(hasSucceeded) : hasEnough(record, others);
}

function hasEnough(record: PodRecord, others: readonly PodRecord[]): boolean {
  const { successRules } = record.pod.job!;
  if (successRules === undefined) return false;
  return areEnough(
    successRules,
    others.filter(hasSucceeded).map(({ pod }) => pod.job?.index ?? 0),
  );
}

/** A Job that was given up takes its pods along; one that stays within its limits does not. */
function endOfAll({ pod }: PodRecord, others: readonly PodRecord[]): JobStep | undefined {
  const { isLimitPerIndex, maxFailedIndexes } = pod.job!;
  const failed = others.filter(({ failure }) => failure !== undefined);
  const failing = failed.find(({ failure }) => failure?.reason === FAIL_JOB);
  if (isLimitPerIndex && failing === undefined) {
    if (maxFailedIndexes === undefined || failed.length <= maxFailedIndexes) return undefined;
    const message = `${failed.length} pods of the Job have failed; its maxFailedIndexes is ${maxFailedIndexes}`;
    return { kind: "give up", reason: "MaxFailedIndexesExceeded", message };
  }
  const first = failing ?? failed[0];
  if (first === undefined) return undefined;
  const message = `the Job was given up with its pod ${first.pod.name}: ${first.failure!.message}`;
  return { kind: "give up", reason: first.failure!.reason, message };
}

function giveUp(failures: number, backoffLimit: number, areSeveral: boolean): JobStep {
  const times = failures === 1 ? "once" : `${failures} times`;
  const who = areSeveral ? "pods of the Job" : "the Job";
  const message = `${who} failed ${times}; its backoffLimit is ${backoffLimit}`;
  return { kind: "give up", reason: "BackoffLimitExceeded", message };
}

/** How often the pod, or with OnFailure its containers, have failed so far. */
function failuresOf(record: PodRecord): number {
  const { pod, retries = 0, ignored = 0 } = record;
  if (pod.spec.restartPolicy !== "OnFailure") {
    const counts = ["Ignore", undefined].includes(verdictOn(record)?.action) ? 0 : 1;
    return retries - ignored + counts;
  }
  return allContainers(pod.spec)
    .map(({ name }) => failuresOfContainer(memoryIn(record)(name)))
    .reduce((sum, count) => sum + count, 0);
}

function failuresOfContainer({ nextAttempt, lastExit }: ContainerMemory): number {
  // Each attempt but the last was followed by another since it had failed.
  const isLast = lastExit !== undefined && lastExit.attempt === nextAttempt - 1;
  return Math.max(0, nextAttempt - 1) + (isLast && lastExit.exitCode !== 0 ? 1 : 0);
}

/** A sidecar is ended when the others are done, and fails nothing by what it makes of that. */
function hasFailed(record: PodRecord): boolean {
  const { spec } = record.pod;
  return [...stepsOf(spec), ...spec.containers].some(
    ({ name }) => (memoryIn(record)(name).lastExit?.exitCode ?? 0) !== 0,
  );
}

function hasSucceeded(record: PodRecord): boolean {
  return isOver(record.pod.spec, memoryIn(record)) && !hasFailed(record);
}

function memoryIn(record: PodRecord): (name: string) => ContainerMemory {
  return (name) => record.containers[name] ?? NEVER_RAN;
}

// SPDX-License-Identifier: Apache-2.0
import type { Database } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { AlreadyExistsError, messageOf, NotFoundError, ResourceExhaustedError } from "../errors.ts";
import { cronJobSchema } from "../state/schemas.ts";
import { openTable, type Table, type TableOptions } from "../state/table.ts";
import type { Keeper } from "./keep-pods.ts";
import type { Clock } from "./lifecycle.ts";
import { lastRun, nextRun } from "./manifest/schedule.ts";
import { type CronJob, type Pod, podKey } from "./pod.ts";
import type { PodStatus } from "./pod-status.ts";

/** What is kept of a CronJob; the key is `namespace/name`. */
export interface CronRecord {
  readonly job: CronJob;
  readonly createdAtMs: number;
  /** The newest of its times that was seen to, by the wall clock. */
  readonly lastRunMs?: number;
}

export interface CronStatus extends CronRecord {
  /** Absent while it is suspended, or its times are over. */
  readonly nextRunMs?: number;
  /** Names of its pods that have not ended. */
  readonly active: readonly string[];
}

/** Runs pods at their times. */
export interface CronJobs {
  /** Keeps a job from now on; one of this name that is kept already is another one then. */
  apply(job: CronJob): "created" | "unchanged" | "updated";
  list(): CronStatus[];
  /** Ends the job and removes its pods; resolves when they are gone. NotFoundError when there is none. */
  delete(namespace: string, name: string): Promise<void>;
  close(): void;
}

export interface CronDeps {
  readonly table: Table<CronRecord>;
  readonly keeper: Pick<Keeper, "run" | "list" | "delete">;
  readonly clock: Clock;
  readonly log: (message: string, job: CronJob) => void;
}

const MAX_JOBS = 1000;
/** The clock may be set, and a pod that another one waits for may end. */
const LOOK_MS = 10_000;

export function openCronJobs(database: Database, putAside?: TableOptions["putAside"]): Table<CronRecord> {
  return openTable<CronRecord>(database, "cron_jobs", { schema: cronJobSchema, putAside });
}

/** Goes on with the jobs of the table. A time that came while the daemon was away is made up for, once. */
export function keepCronJobs({ table, keeper, clock, log }: CronDeps): CronJobs {
  let cancel = () => {};

  const podsOf = (job: CronJob): PodStatus[] =>
    keeper.list().filter(({ pod }) => pod.owner === job.pod.owner && pod.namespace === job.pod.namespace);
  const nextOf = ({ job }: CronRecord): number | undefined => {
    if (job.policy.suspend) return undefined;
    return nextRun(job.policy.schedule, job.policy.timeZone, new Date(clock.wallMs()))?.getTime();
  };
  const remove = (job: CronJob, { pod }: PodStatus): void => {
    // Not awaited: its grace holds up nobody. What fails goes on in the keeper.
    void keeper.delete(pod.namespace, pod.name).catch((error) => log(messageOf(error), job));
  };

  function look(): void {
    cancel();
    for (const record of table.list()) {
      try {
        seeTo(record);
      } catch (error) {
        log(messageOf(error), record.job);
      }
    }
    const waits = table.list().flatMap((record) => nextOf(record) ?? []);
    const untilMs = Math.min(...waits.map((ms) => ms - clock.wallMs()), LOOK_MS);
    cancel = clock.after(Math.max(0, untilMs), look);
  }

  function seeTo(record: CronRecord): void {
    const { job, createdAtMs } = record;
    prune(job);
    if (job.policy.suspend) return;
    const nowMs = clock.wallMs();
    const dueMs = lastRun(job.policy.schedule, job.policy.timeZone, new Date(nowMs))?.getTime();
    if (dueMs === undefined || dueMs <= (record.lastRunMs ?? createdAtMs)) return;
    const note = () => table.put(podKey(job.pod), { ...record, lastRunMs: dueMs });
    const { startingDeadlineSeconds, concurrencyPolicy } = job.policy;
    if (startingDeadlineSeconds !== undefined && nowMs - dueMs > startingDeadlineSeconds * 1000) {
      log(`the run of ${new Date(dueMs).toISOString()} is left out: it is too late for it`, job);
      note();
      return;
    }
    const active = podsOf(job).filter(isActive);
    // It is tried again when they have ended, unless the next time has come or it is too late by then.
    if (concurrencyPolicy === "Forbid" && active.length > 0) return;
    if (concurrencyPolicy === "Replace") for (const status of active) remove(job, status);
    note();
    start(job, dueMs);
  }

  function start(job: CronJob, dueMs: number): void {
    const pod: Pod = { ...job.pod, uid: randomUUID(), name: `${job.pod.name}-${Math.floor(dueMs / 60_000)}` };
    try {
      keeper.run([pod]);
    } catch (error) {
      // A daemon that died between the two steps finds the pod there.
      if (!(error instanceof AlreadyExistsError)) throw error;
    }
  }

  function prune(job: CronJob): void {
    const { successfulJobsHistoryLimit, failedJobsHistoryLimit } = job.policy;
    const ended = podsOf(job).toSorted((a, b) => Number(BigInt(b.createdAtNs) - BigInt(a.createdAtNs)));
    const limits = { Succeeded: successfulJobsHistoryLimit, Failed: failedJobsHistoryLimit } as const;
    for (const phase of ["Succeeded", "Failed"] as const) {
      for (const status of ended.filter((one) => one.phase === phase).slice(limits[phase]))
        remove(job, status);
    }
  }

  look();
  return {
    apply(job) {
      const key = podKey(job.pod);
      const before = table.get(key);
      if (before === undefined && table.list().length >= MAX_JOBS) {
        throw new ResourceExhaustedError(`no more than ${MAX_JOBS} CronJobs are kept; remove some first`);
      }
      if (before !== undefined && isDeepStrictEqual(part(before.job), part(job))) return "unchanged";
      table.put(key, before === undefined ? { job, createdAtMs: clock.wallMs() } : { ...before, job });
      look();
      return before === undefined ? "created" : "updated";
    },
    list: () =>
      table.list().map((record) => {
        const next = nextOf(record);
        const active = podsOf(record.job).filter(isActive);
        return {
          ...record,
          ...(next === undefined ? {} : { nextRunMs: next }),
          active: active.map(({ pod }) => pod.name),
        };
      }),
    async delete(namespace, name) {
      const record = table.get(podKey({ namespace, name }));
      if (record === undefined)
        throw new NotFoundError(`no CronJob ${name} is kept in namespace ${namespace}`);
      table.delete(podKey({ namespace, name }));
      await Promise.all(podsOf(record.job).map(({ pod }) => keeper.delete(pod.namespace, pod.name)));
    },
    close: () => cancel(),
  };
}

function isActive({ phase }: PodStatus): boolean {
  return phase !== "Succeeded" && phase !== "Failed";
}

/** Two readings of one manifest differ in the uid. */
function part({ policy, pod: { uid: _, ...pod } }: CronJob): unknown {
  return JSON.parse(JSON.stringify({ policy, pod }));
}

// SPDX-License-Identifier: Apache-2.0
import { PodSpec } from "./fields.ts";
import * as names from "./names.ts";
import { ObjectMeta } from "./object-fields.ts";
import { boolean, integer, oneOf, only, string } from "./scalars.ts";
import { cronSchedule, timeZone } from "./schedule.ts";
import { mapOf, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";

/** Kinds that are read for the pods they ask for. */

const NO_ROLLOUT = "has no effect: a pod is replaced only when it is removed and run anew";
const WRITTEN = "is written by Kubernetes, leave it out";

const LabelSelector = record({
  matchLabels: mapOf(string(names.labelValue), 256, names.qualifiedName),
  matchExpressions: unsupported(),
});

const PodTemplateSpec = record({ metadata: ObjectMeta, spec: required(PodSpec) });

const DeploymentSpec = record({
  replicas: integer(0, 100),
  selector: required(LabelSelector),
  template: required(PodTemplateSpec),
  paused: only(false),
  strategy: meaningless(NO_ROLLOUT),
  minReadySeconds: meaningless(NO_ROLLOUT),
  revisionHistoryLimit: meaningless(NO_ROLLOUT),
  progressDeadlineSeconds: meaningless(NO_ROLLOUT),
});

const Deployment = record({
  apiVersion: required(oneOf("apps/v1")),
  kind: required(oneOf("Deployment")),
  metadata: required(ObjectMeta),
  spec: required(DeploymentSpec),
  status: unsupported(WRITTEN),
});

const DaemonSetSpec = record({
  selector: required(LabelSelector),
  template: required(PodTemplateSpec),
  updateStrategy: meaningless(NO_ROLLOUT),
  minReadySeconds: meaningless(NO_ROLLOUT),
  revisionHistoryLimit: meaningless(NO_ROLLOUT),
});

const DaemonSet = record({
  apiVersion: required(oneOf("apps/v1")),
  kind: required(oneOf("DaemonSet")),
  metadata: required(ObjectMeta),
  spec: required(DaemonSetSpec),
  status: unsupported(WRITTEN),
});

const JobSpec = record({
  template: required(PodTemplateSpec),
  parallelism: integer(0, 100),
  completions: integer(1, 100),
  completionMode: oneOf("NonIndexed", "Indexed"),
  backoffLimit: integer(0, 1000),
  activeDeadlineSeconds: integer(1, 2_147_483_647),
  suspend: boolean(),
  ttlSecondsAfterFinished: integer(0, 2_147_483_647),
  backoffLimitPerIndex: integer(0, 1000),
  maxFailedIndexes: integer(0, 100),
  managedBy: unsupported("is not supported: podrt itself manages what it runs"),
  manualSelector: only(false),
  podFailurePolicy: unsupported(),
  podReplacementPolicy: meaningless("has no effect: a pod is run anew only once it has ended"),
  selector: unsupported("is set by Kubernetes, leave it out"),
  successPolicy: unsupported(),
});

const Job = record({
  apiVersion: required(oneOf("batch/v1")),
  kind: required(oneOf("Job")),
  metadata: required(ObjectMeta),
  spec: required(JobSpec),
  status: unsupported(WRITTEN),
});

const CronJobSpec = record({
  schedule: required(string(cronSchedule)),
  timeZone: string(timeZone),
  concurrencyPolicy: oneOf("Allow", "Forbid", "Replace"),
  startingDeadlineSeconds: integer(0, 2_147_483_647),
  suspend: boolean(),
  successfulJobsHistoryLimit: integer(0, 100),
  failedJobsHistoryLimit: integer(0, 100),
  jobTemplate: required(record({ metadata: ObjectMeta, spec: required(JobSpec) })),
});

const CronJob = record({
  apiVersion: required(oneOf("batch/v1")),
  kind: required(oneOf("CronJob")),
  metadata: required(ObjectMeta),
  spec: required(CronJobSpec),
  status: unsupported(WRITTEN),
});

export const WORKLOAD_FIELDS = {
  Deployment,
  DeploymentSpec,
  DaemonSet,
  DaemonSetSpec,
  Job,
  JobSpec,
  CronJob,
  CronJobSpec,
  LabelSelector,
  PodTemplateSpec,
} as const;

export type DeploymentManifest = TypeOf<typeof Deployment>;
export type DaemonSetManifest = TypeOf<typeof DaemonSet>;
export type JobManifest = TypeOf<typeof Job>;
export type CronJobManifest = TypeOf<typeof CronJob>;
export type PodTemplate = TypeOf<typeof PodTemplateSpec>;

// SPDX-License-Identifier: Apache-2.0
import { PodSpec } from "./fields.ts";
import { JOB_POLICY_FIELDS, PodFailurePolicy, SuccessPolicy } from "./job-policy-fields.ts";
import * as names from "./names.ts";
import { ObjectMeta, PersistentVolumeClaimSpec, status } from "./object-fields.ts";
import { boolean, integer, oneOf, only, string } from "./scalars.ts";
import { cronSchedule, timeZone } from "./schedule.ts";
import { list, mapOf, meaningless, record, required, type TypeOf, unsupported } from "./schema.ts";

/** Kinds that are read for the pods they ask for. */

const NO_ROLLOUT = "has no effect: what `podrt apply` changes, it changes in all pods at once";

const LabelSelector = record({
  matchLabels: mapOf(string(names.labelValue), 256, names.qualifiedName),
  matchExpressions: list(
    record({
      key: required(string(names.qualifiedName)),
      operator: required(oneOf("In", "NotIn", "Exists", "DoesNotExist")),
      values: list(string(names.labelValue), 256),
    }),
    64,
  ),
});

const PodTemplateSpec = record({ metadata: ObjectMeta, spec: required(PodSpec) });

const DeploymentSpec = record({
  replicas: integer(0, 100),
  selector: required(LabelSelector),
  template: required(PodTemplateSpec),
  paused: meaningless(NO_ROLLOUT),
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
  status,
});

const ReplicaSetSpec = record({
  replicas: integer(0, 100),
  selector: required(LabelSelector),
  template: required(PodTemplateSpec),
  minReadySeconds: meaningless(NO_ROLLOUT),
});

const ReplicaSet = record({
  apiVersion: required(oneOf("apps/v1")),
  kind: required(oneOf("ReplicaSet")),
  metadata: required(ObjectMeta),
  spec: required(ReplicaSetSpec),
  status,
});

/** A claim for each pod, named after it and the template. */
const VolumeClaimTemplate = record({
  apiVersion: oneOf("v1"),
  kind: oneOf("PersistentVolumeClaim"),
  metadata: required(ObjectMeta),
  spec: required(PersistentVolumeClaimSpec),
  status,
});

const StatefulSetSpec = record({
  replicas: integer(0, 100),
  selector: required(LabelSelector),
  serviceName: string(names.dnsLabel),
  template: required(PodTemplateSpec),
  volumeClaimTemplates: list(VolumeClaimTemplate, 64),
  ordinals: record({ start: integer(0, 100_000) }),
  persistentVolumeClaimRetentionPolicy: record({ whenDeleted: only("Retain"), whenScaled: only("Retain") }),
  podManagementPolicy: meaningless("has no effect: all pods are started at once"),
  updateStrategy: meaningless(NO_ROLLOUT),
  minReadySeconds: meaningless(NO_ROLLOUT),
  revisionHistoryLimit: meaningless(NO_ROLLOUT),
});

const StatefulSet = record({
  apiVersion: required(oneOf("apps/v1")),
  kind: required(oneOf("StatefulSet")),
  metadata: required(ObjectMeta),
  spec: required(StatefulSetSpec),
  status,
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
  status,
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
  podFailurePolicy: PodFailurePolicy,
  podReplacementPolicy: oneOf("TerminatingOrFailed", "Failed"),
  selector: meaningless("has no effect: is set by Kubernetes"),
  successPolicy: SuccessPolicy,
});

const Job = record({
  apiVersion: required(oneOf("batch/v1")),
  kind: required(oneOf("Job")),
  metadata: required(ObjectMeta),
  spec: required(JobSpec),
  status,
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
  status,
});

export const WORKLOAD_FIELDS = {
  Deployment,
  DeploymentSpec,
  ReplicaSet,
  ReplicaSetSpec,
  StatefulSet,
  StatefulSetSpec,
  DaemonSet,
  DaemonSetSpec,
  Job,
  JobSpec,
  ...JOB_POLICY_FIELDS,
  CronJob,
  CronJobSpec,
  LabelSelector,
  PodTemplateSpec,
} as const;

export type DeploymentManifest = TypeOf<typeof Deployment>;
export type ReplicaSetManifest = TypeOf<typeof ReplicaSet>;
export type StatefulSetManifest = TypeOf<typeof StatefulSet>;
export type SelectorSpec = TypeOf<typeof LabelSelector>;
export type DaemonSetManifest = TypeOf<typeof DaemonSet>;
export type JobManifest = TypeOf<typeof Job>;
export type CronJobManifest = TypeOf<typeof CronJob>;
export type PodTemplate = TypeOf<typeof PodTemplateSpec>;

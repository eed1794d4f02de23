// SPDX-License-Identifier: Apache-2.0
import type { CronPolicy, JobPolicy } from "../pod.ts";
import type { Report } from "./checks.ts";
import { checkJob } from "./job-checks.ts";
import type { CronJobManifest, JobManifest, PodTemplate } from "./workload-fields.ts";
import { checkTemplate, TEMPLATE, templated, type WantedPod } from "./workloads.ts";

/** Kubernetes's own (batch/v1). */
const BACKOFF_LIMIT = 6;
const MAX_CRON_NAME = 52;

/** One pod of its own name, or several, numbered from 0. */
export function podsOfJob({ metadata, spec }: JobManifest, report: Report, note: Report): WantedPod[] {
  const { template, activeDeadlineSeconds } = spec;
  checkTemplate(template, metadata.name, report);
  if ((template.spec.restartPolicy ?? "Always") === "Always") {
    report(`${TEMPLATE}spec.restartPolicy`, "must be OnFailure or Never in a Job");
  }
  checkJob(spec, report, note);
  const seconds = Math.min(
    activeDeadlineSeconds ?? Number.POSITIVE_INFINITY,
    template.spec.activeDeadlineSeconds ?? Number.POSITIVE_INFINITY,
  );
  const limited = Number.isFinite(seconds) ? { activeDeadlineSeconds: seconds } : {};
  const limitedTemplate = { ...template, spec: { ...template.spec, ...limited } };
  const isIndexed = spec.completionMode === "Indexed";
  const count = spec.completions ?? Math.max(1, spec.parallelism ?? 1);
  const policy = jobPolicy(spec);
  const owner = `Job/${metadata.name}`;
  if (count === 1 && !isIndexed) {
    return [{ ...templated(limitedTemplate, metadata.name!, metadata.namespace, owner), job: policy }];
  }
  return Array.from({ length: count }, (_, index) => {
    const name = `${metadata.name}-${index}`;
    const wanted = isIndexed ? indexedTemplate(limitedTemplate, name, index) : limitedTemplate;
    return { ...templated(wanted, name, metadata.namespace, owner), job: { ...policy, index } };
  });
}

function jobPolicy(spec: JobManifest["spec"]): JobPolicy {
  const { backoffLimitPerIndex, maxFailedIndexes, completions, suspend, ttlSecondsAfterFinished } = spec;
  const { podFailurePolicy, successPolicy } = spec;
  const parallelism = spec.parallelism ?? 1;
  return {
    backoffLimit: backoffLimitPerIndex ?? spec.backoffLimit ?? BACKOFF_LIMIT,
    ...(parallelism === 1 ? {} : { parallelism }),
    ...(completions === undefined && parallelism > 1 ? { isQueue: true } : {}),
    ...(backoffLimitPerIndex === undefined ? {} : { isLimitPerIndex: true }),
    ...(maxFailedIndexes === undefined ? {} : { maxFailedIndexes }),
    ...(podFailurePolicy === undefined ? {} : { failureRules: podFailurePolicy.rules }),
    ...(successPolicy === undefined ? {} : { successRules: successPolicy.rules }),
    ...(suspend ? { suspend } : {}),
    ...(ttlSecondsAfterFinished === undefined ? {} : { ttlSecondsAfterFinished }),
  };
}

const INDEX = "batch.kubernetes.io/job-completion-index";

/** A pod of an Indexed Job knows its number: from a variable, an annotation, a label and its host name. */
function indexedTemplate({ metadata = {}, spec }: PodTemplate, hostname: string, index: number): PodTemplate {
  const value = String(index);
  const variable = { name: "JOB_COMPLETION_INDEX", value };
  const withVariable = <T extends { readonly env?: readonly { readonly name: string }[] }>(
    container: T,
  ): T =>
    container.env?.some(({ name }) => name === variable.name)
      ? container
      : { ...container, env: [...(container.env ?? []), variable] };
  return {
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [INDEX]: value },
      annotations: { ...metadata.annotations, [INDEX]: value },
    },
    spec: {
      ...spec,
      hostname: hostname.slice(0, 63),
      containers: spec.containers.map(withVariable),
      ...(spec.initContainers === undefined ? {} : { initContainers: spec.initContainers.map(withVariable) }),
    },
  };
}

/** Its Job's pod, as it is at each of its times. */
export function podsOfCronJob(
  { metadata, spec }: CronJobManifest,
  report: Report,
  note: Report,
): WantedPod[] {
  const within =
    (tell: Report): Report =>
    (path, message) =>
      tell(path.startsWith("spec.") ? `spec.jobTemplate.${path}` : path, message);
  const at = within(report);
  const { schedule, timeZone, concurrencyPolicy = "Allow", startingDeadlineSeconds, suspend = false } = spec;
  // Names of its pods get the minute after them.
  if ((metadata.name ?? "").length > MAX_CRON_NAME) {
    report("metadata.name", `expected at most ${MAX_CRON_NAME} characters`);
  }
  const { completions, parallelism, completionMode } = spec.jobTemplate.spec;
  for (const [field, isOther] of [
    ["completions", (completions ?? 1) > 1],
    ["parallelism", (parallelism ?? 1) !== 1],
    ["completionMode", completionMode === "Indexed"],
    ["suspend", spec.jobTemplate.spec.suspend === true],
  ] as const) {
    if (isOther)
      at(`spec.${field}`, "is not supported yet for the Jobs of a CronJob, which have one pod each");
  }
  const [wanted] = podsOfJob(
    { apiVersion: "batch/v1", kind: "Job", metadata, spec: spec.jobTemplate.spec },
    at,
    within(note),
  );
  const cron: CronPolicy = {
    schedule,
    ...(timeZone === undefined ? {} : { timeZone }),
    concurrencyPolicy,
    ...(startingDeadlineSeconds === undefined ? {} : { startingDeadlineSeconds }),
    suspend,
    successfulJobsHistoryLimit: spec.successfulJobsHistoryLimit ?? 3,
    failedJobsHistoryLimit: spec.failedJobsHistoryLimit ?? 1,
  };
  return [
    { ...wanted!, owner: `CronJob/${metadata.name}`, prefix: `spec.jobTemplate.${wanted!.prefix}`, cron },
  ];
}

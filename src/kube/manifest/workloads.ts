// SPDX-License-Identifier: Apache-2.0
import type { CronPolicy, JobPolicy } from "../pod.ts";
import { checkPod, type Report } from "./checks.ts";
import type { PodManifest } from "./fields.ts";
import { nearMiss } from "./near-miss.ts";
import type { ObjectMetaFields } from "./object-fields.ts";
import type {
  DaemonSetManifest,
  DeploymentManifest,
  PodTemplate,
  ReplicaSetManifest,
  SelectorSpec,
  StatefulSetManifest,
} from "./workload-fields.ts";

/** A pod as a document asks for it, with what stands around it. */
export interface WantedPod {
  readonly manifest: PodManifest;
  /** As in `Deployment/web`; absent for a Pod of its own. */
  readonly owner?: string;
  readonly job?: JobPolicy;
  /** Set where it is not run at once but at its times. */
  readonly cron?: CronPolicy;
  /** Where the pod's `spec` stands in the document, as in `spec.template.`. */
  readonly prefix: string;
}

export const TEMPLATE = "spec.template.";

export function podOf(manifest: PodManifest, report: Report): WantedPod[] {
  if (manifest.metadata.name === undefined && manifest.metadata.generateName === undefined) {
    report("metadata.name", "is required");
  }
  checkPod(manifest, report);
  return [{ manifest, prefix: "" }];
}

/** The replicas of a Deployment or ReplicaSet, numbered from 0: `web-0`, `web-1`. */
export function podsOfReplicas(
  { kind, metadata, spec }: DeploymentManifest | ReplicaSetManifest,
  report: Report,
): WantedPod[] {
  checkTemplate(spec.template, metadata.name, report);
  checkSelector(spec.selector, spec.template, report);
  checkAlwaysRestarts(spec.template, report);
  return Array.from({ length: spec.replicas ?? 1 }, (_, index) =>
    templated(spec.template, `${metadata.name}-${index}`, metadata.namespace, `${kind}/${metadata.name}`),
  );
}

/** Its replicas, each with its host name below the Service's and with claims of its own, whose names `addClaim` hears. */
export function podsOfStatefulSet(
  { metadata, spec }: StatefulSetManifest,
  report: Report,
  addClaim: (claim: ObjectMetaFields) => void,
): WantedPod[] {
  const { template, serviceName, volumeClaimTemplates = [] } = spec;
  const first = spec.ordinals?.start ?? 0;
  volumeClaimTemplates.forEach((claim, index) => {
    if (claim.metadata.name === undefined)
      report(`spec.volumeClaimTemplates[${index}].metadata.name`, "is required");
  });
  const names = volumeClaimTemplates.map((claim) => claim.metadata.name ?? "");
  const numbered = (index: number): PodTemplate => {
    const name = `${metadata.name}-${index}`;
    const claims = names.map((volume) => ({
      name: volume,
      persistentVolumeClaim: { claimName: `${volume}-${name}` },
    }));
    // As in Kubernetes a claim goes before a volume of its name.
    const others = (template.spec.volumes ?? []).filter((volume) => !names.includes(volume.name));
    return {
      metadata: {
        ...template.metadata,
        labels: {
          ...template.metadata?.labels,
          "statefulset.kubernetes.io/pod-name": name,
          "apps.kubernetes.io/pod-index": String(index),
        },
      },
      spec: {
        ...template.spec,
        volumes: [...others, ...claims],
        hostname: name.slice(0, 63),
        ...(serviceName === undefined ? {} : { subdomain: serviceName }),
      },
    };
  };
  checkTemplate({ ...numbered(first), metadata: template.metadata ?? {} }, metadata.name, report);
  checkSelector(spec.selector, template, report);
  checkAlwaysRestarts(template, report);
  const { namespace } = metadata;
  return Array.from({ length: spec.replicas ?? 1 }, (_, ordinal) => {
    const index = first + ordinal;
    for (const volume of names) {
      const name = `${volume}-${metadata.name}-${index}`;
      addClaim({ name, ...(namespace === undefined ? {} : { namespace }) });
    }
    return templated(numbered(index), `${metadata.name}-${index}`, namespace, `StatefulSet/${metadata.name}`);
  });
}

/** One pod: this machine is all the machines. */
export function podsOfDaemonSet({ metadata, spec }: DaemonSetManifest, report: Report): WantedPod[] {
  checkTemplate(spec.template, metadata.name, report);
  checkSelector(spec.selector, spec.template, report);
  checkAlwaysRestarts(spec.template, report);
  return [templated(spec.template, metadata.name!, metadata.namespace, `DaemonSet/${metadata.name}`)];
}

export function templated(
  { metadata, spec }: PodTemplate,
  name: string,
  namespace: string | undefined,
  owner: string,
): WantedPod {
  const { labels, annotations } = metadata ?? {};
  return {
    manifest: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(labels === undefined ? {} : { labels }),
        ...(annotations === undefined ? {} : { annotations }),
      },
      spec,
    },
    owner,
    prefix: TEMPLATE,
  };
}

/** What its pods are called follows from the workload's own name. */
export function checkTemplate(
  { metadata, spec }: PodTemplate,
  name: string | undefined,
  report: Report,
): void {
  if (name === undefined) report("metadata.name", "is required");
  for (const field of ["name", "generateName", "uid", "namespace"] as const) {
    if (metadata?.[field] !== undefined) {
      report(`${TEMPLATE}metadata.${field}`, "has no place in a template, leave it out");
    }
  }
  checkPod({ apiVersion: "v1", kind: "Pod", metadata: { name: "x" }, spec }, (path, message) =>
    report(TEMPLATE + path, message),
  );
}

function checkSelector(selector: SelectorSpec, { metadata }: PodTemplate, report: Report): void {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  const labels = metadata?.labels ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) {
    report("spec.selector.matchLabels", "needs at least one label");
  }
  for (const [key, value] of Object.entries(matchLabels)) {
    if (labels[key] === value) continue;
    const meant = Object.hasOwn(labels, key) ? key : nearMiss(key, Object.keys(labels));
    const hint = meant === undefined ? "" : `; the template has ${meant}: ${labels[meant]}`;
    report(
      `spec.selector.matchLabels[${JSON.stringify(key)}]`,
      `does not match the labels of the template${hint}`,
    );
  }
  matchExpressions.forEach(({ key, operator, values = [] }, index) => {
    const path = `spec.selector.matchExpressions[${index}]`;
    const needsValues = operator === "In" || operator === "NotIn";
    if (needsValues !== values.length > 0) {
      report(
        `${path}.values`,
        needsValues ? `is required with ${operator}` : `has no place with ${operator}`,
      );
    }
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    const isIn = value !== undefined && (!needsValues || values.includes(value));
    const wants = operator === "In" || operator === "Exists";
    if (isIn !== wants) report(path, "does not match the labels of the template");
  });
}

function checkAlwaysRestarts({ spec }: PodTemplate, report: Report): void {
  if ((spec.restartPolicy ?? "Always") === "Always") return;
  report(`${TEMPLATE}spec.restartPolicy`, "must be Always here; use a Job for what ends");
}

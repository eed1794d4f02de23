// SPDX-License-Identifier: Apache-2.0
import { randomBytes, randomUUID } from "node:crypto";
import { LineCounter } from "yaml";
import { needsOf } from "../permissions.ts";
import { type CronJob, type CronPolicy, type Pod, podHostname, podKey } from "../pod.ts";
import type { Report } from "./checks.ts";
import { parseDocuments } from "./documents.ts";
import { type ReadDocument, readDocument } from "./kinds.ts";
import { NO_OBJECTS, ObjectSet, sizeOf } from "./objects.ts";
import { Problems, throwProblems } from "./problems.ts";

/** A text with the name that messages call it by; `-` is standard input. */
export interface ManifestFile {
  readonly name: string;
  readonly text: string;
}

const MAX_FILES = 100;
const MAX_PODS = 1000;
/** What the kernel takes (sethostname(2)). */
const MAX_HOSTNAME = 64;
/** Of what one pod takes along, and all pods of a manifest together, in base64. */
const MAX_OBJECT_BYTES = 2 * 1024 * 1024;
const MAX_TOTAL_BYTES = 32 * 1024 * 1024;

/** The pods of a manifest, and what whoever runs it should know, a line each. */
export interface ParsedManifest {
  readonly pods: readonly Pod[];
  readonly cronJobs: readonly CronJob[];
  /** The workloads that ask for pods, perhaps for none, as in `default/Deployment/web`. */
  readonly workloads: readonly string[];
  readonly notes: readonly string[];
  /** What the pods need a permission for, each permission once. */
  readonly needs: readonly PlacedNeed[];
}

/** A need with the place of the field that asks, as in `pod.yaml:7:3: spec.hostPID`. */
export interface PlacedNeed {
  readonly permission: string;
  readonly place: string;
  readonly why: string;
}

/**
 * Reads the pods of a manifest, which may be several files: each of one or more documents, whose kinds
 * are those of kinds.ts. A pod may refer to what stands in any of them.
 *
 * All or nothing: any problem in any document throws a ManifestError that lists the problems of all
 * of them.
 */
export function parseManifest(files: readonly ManifestFile[]): ParsedManifest {
  const objects = new ObjectSet();
  const all: Problems[] = [];
  const read = files.slice(0, MAX_FILES).flatMap(({ name, text }) => {
    const lineCounter = new LineCounter();
    const problems = new Problems(name === "-" ? "stdin" : name, lineCounter);
    all.push(problems);
    return parseDocuments(text, lineCounter, problems).flatMap((document) =>
      readDocument(document, problems, objects),
    );
  });
  // Only when every object has been seen: a pod may stand before what it refers to.
  const pods = read.flatMap((document) => podsOf(document, objects));
  const workloads = read.flatMap(({ workload }) => workload ?? []);
  objects.services.tellOfEmpty();
  reportRepeatedPods(pods);
  const [first = new Problems("manifest", new LineCounter())] = all;
  if (files.length > MAX_FILES) first.addWhole(`is one of more than ${MAX_FILES} files`);
  if (pods.length > MAX_PODS) first.addWhole(`and the files beside it hold more than ${MAX_PODS} pods`);
  const bytes = pods.reduce((sum, { pod }) => sum + sizeOf(pod.objects ?? NO_OBJECTS), 0);
  if (bytes > MAX_TOTAL_BYTES) {
    const most = `${MAX_TOTAL_BYTES / 2 ** 20} MiB`;
    first.addWhole(`has pods that together take along more than ${most} of ConfigMaps and Secrets`);
  }
  if (pods.length === 0 && workloads.length === 0 && all.every((problems) => problems.count() === 0)) {
    first.add(
      0,
      "",
      objects.size() === 0
        ? "holds no pod"
        : "holds no pod that could use what it holds; name the file of the pod beside it",
    );
  }
  throwProblems(all);
  const needs = new Map(pods.flatMap((pod) => pod.needs.map((need) => [need.permission, need] as const)));
  return {
    pods: pods.filter(({ cron }) => cron === undefined).map(({ pod }) => pod),
    cronJobs: pods.flatMap(({ pod, cron }) => (cron === undefined ? [] : [{ policy: cron, pod }])),
    workloads,
    notes: all.flatMap((problems) => problems.notes()),
    needs: [...needs.values()],
  };
}

interface NamedPod {
  readonly pod: Pod;
  readonly report: Report;
  readonly needs: readonly PlacedNeed[];
  readonly cron: CronPolicy | undefined;
}

function podsOf({ wanted, report, place }: ReadDocument, objects: ObjectSet): NamedPod[] {
  return wanted.map(({ manifest, owner, job, cron, prefix }, index) => {
    const { metadata, spec } = manifest;
    const namespace = metadata.namespace ?? "default";
    // The pods of one template lack the same: that is told once.
    const told: Report = index === 0 ? (path, message) => report(prefix + path, message) : () => {};
    const given = objects.objectsFor(spec, namespace, told);
    if (sizeOf(given) > MAX_OBJECT_BYTES) {
      told("spec.volumes", `asks for more than ${MAX_OBJECT_BYTES / 1024} KiB of ConfigMaps and Secrets`);
    }
    const pod = {
      namespace,
      name: metadata.name ?? `${metadata.generateName}${randomBytes(3).toString("hex").slice(0, 5)}`,
      uid: metadata.uid ?? randomUUID(),
      labels: metadata.labels ?? {},
      annotations: metadata.annotations ?? {},
      spec,
      objects: { ...given, services: objects.services.of(manifest, namespace) },
      ...(owner === undefined ? {} : { owner }),
      ...(job === undefined ? {} : { job }),
    };
    if (podHostname(pod).length > MAX_HOSTNAME) {
      const field = spec.hostnameOverride === undefined ? "setHostnameAsFQDN" : "hostnameOverride";
      told(`spec.${field}`, `makes a host name of more than ${MAX_HOSTNAME} characters`);
    }
    const needs = needsOf(spec).map(({ permission, path, why }) => {
      const whole = prefix + path;
      return { permission, place: `${place(whole)}: ${whole}`, why };
    });
    return { pod, report, needs, cron };
  });
}

function reportRepeatedPods(pods: readonly NamedPod[]): void {
  const seen = new Set<string>();
  for (const { pod, report } of pods) {
    const key = podKey(pod);
    if (seen.has(key)) report("metadata.name", `the pod ${key} is given twice`);
    seen.add(key);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { type Document, isMap, isScalar, isSeq, type Node } from "yaml";
import type { Report } from "./checks.ts";
import { FIELDS } from "./fields.ts";
import { podsOfCronJob, podsOfJob } from "./jobs.ts";
import { nearMiss } from "./near-miss.ts";
import type { ObjectMetaFields } from "./object-fields.ts";
import { type Contents, configMapContents, type ObjectSet, secretContents } from "./objects.ts";
import type { Problems } from "./problems.ts";
import { ManifestReader } from "./reader.ts";
import type { ObjectKind } from "./references.ts";
import { describe, type Schema } from "./schema.ts";
import { SERVICE_FIELDS } from "./service-fields.ts";
import { WORKLOAD_FIELDS } from "./workload-fields.ts";
import { podOf, podsOfDaemonSet, podsOfReplicas, podsOfStatefulSet, type WantedPod } from "./workloads.ts";

/** What one document asks for, and how to tell of problems with it. */
export interface ReadDocument {
  readonly wanted: readonly WantedPod[];
  readonly report: Report;
  /** As in `default/Deployment/web`, of one that asks for pods of which it is the owner. */
  readonly workload?: string;
  /** Where the field at a path stands, as `file:line:column`. */
  readonly place: (path: string) => string;
}

/** How a document of each kind is read: the pods that it asks for. */
const KINDS: Readonly<
  Record<string, (root: Node, reader: ManifestReader, objects: ObjectSet, report: Report) => WantedPod[]>
> = {
  Pod: (root, reader, _objects, report) => read(FIELDS.Pod, root, reader, report, podOf),
  Deployment: (root, reader, _objects, report) =>
    read(WORKLOAD_FIELDS.Deployment, root, reader, report, podsOfReplicas),
  ReplicaSet: (root, reader, _objects, report) =>
    read(WORKLOAD_FIELDS.ReplicaSet, root, reader, report, podsOfReplicas),
  StatefulSet: (root, reader, objects, report) =>
    read(WORKLOAD_FIELDS.StatefulSet, root, reader, report, (manifest) =>
      // One that stands in the manifest itself is that claim.
      podsOfStatefulSet(manifest, report, ({ namespace = "default", name = "" }) => {
        objects.add("PersistentVolumeClaim", namespace, name, {});
      }),
    ),
  DaemonSet: (root, reader, _objects, report) =>
    read(WORKLOAD_FIELDS.DaemonSet, root, reader, report, podsOfDaemonSet),
  Job: (root, reader, _objects, report) =>
    read(WORKLOAD_FIELDS.Job, root, reader, report, (manifest) =>
      podsOfJob(manifest, report, (path, message) => reader.noteAt(path, message)),
    ),
  CronJob: (root, reader, _objects, report) =>
    read(WORKLOAD_FIELDS.CronJob, root, reader, report, (manifest) =>
      podsOfCronJob(manifest, report, (path, message) => reader.noteAt(path, message)),
    ),
  ConfigMap: (root, reader, objects, report) =>
    read(FIELDS.ConfigMap, root, reader, report, (manifest) =>
      addObject("ConfigMap", manifest.metadata, configMapContents(manifest, report), objects, report),
    ),
  Secret: (root, reader, objects, report) =>
    read(FIELDS.Secret, root, reader, report, (manifest) =>
      addObject("Secret", manifest.metadata, secretContents(manifest, report), objects, report),
    ),
  PersistentVolumeClaim: (root, reader, objects, report) =>
    read(FIELDS.PersistentVolumeClaim, root, reader, report, ({ metadata }) =>
      addObject("PersistentVolumeClaim", metadata, {}, objects, report),
    ),
  Service: (root, reader, objects, report) =>
    read(SERVICE_FIELDS.Service, root, reader, report, (manifest) => {
      objects.services.add(manifest, report, (path, message) => reader.noteAt(path, message));
      return [];
    }),
};

/** Documents that a cluster needs and one machine does not; who runs them is told. */
const NO_EFFECT: Readonly<Record<string, string>> = {
  Namespace: "has no effect: a namespace is there with its first pod",
  ...Object.fromEntries(
    ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"].map((kind) => [
      kind,
      "has no effect: there is no API server",
    ]),
  ),
  ...Object.fromEntries(
    ["HorizontalPodAutoscaler", "PodDisruptionBudget", "PriorityClass", "StorageClass"].map((kind) => [
      kind,
      "has no effect: there is only this machine",
    ]),
  ),
};

const MAX_ITEMS = 100;

/** Reads one document, or those of a List: objects go into `objects`. Empty ones, and of no known kind, ask for nothing. */
export function readDocument(
  document: Document.Parsed,
  problems: Problems,
  objects: ObjectSet,
): ReadDocument[] {
  const root = document.contents as Node | null;
  if (root === null || (isScalar(root) && root.value === null)) return [];
  if (isMap(root) && root.get("kind") === "List") {
    const reader = new ManifestReader(document, problems);
    const items = root.get("items", true);
    if (!isSeq(items)) {
      reader.problem(root, "items", "expected a list");
      return [];
    }
    if (items.items.length > MAX_ITEMS) reader.problem(items, "items", `has more than ${MAX_ITEMS} entries`);
    return items.items
      .slice(0, MAX_ITEMS)
      .flatMap((item) => readObject(item as Node, document, problems, objects));
  }
  return readObject(root, document, problems, objects);
}

function readObject(
  root: Node,
  document: Document.Parsed,
  problems: Problems,
  objects: ObjectSet,
): ReadDocument[] {
  const reader = new ManifestReader(document, problems);
  reader.seen(root, "");
  const report: Report = (path, message) => problems.add(reader.offsetOf(path), path, message);
  const kind = kindOf(root, reader);
  if (kind === undefined) return [];
  const place = (path: string) => problems.place(reader.offsetOf(path));
  const wanted = KINDS[kind]!(root, reader, objects, report);
  return [{ wanted, report, place, ...workloadOf(kind, root, wanted) }];
}

/** Those whose pods are kept by themselves; the pods of a CronJob are of each of its times. */
const WORKLOADS: readonly string[] = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"];

function workloadOf(
  kind: string,
  root: Node,
  [first]: readonly WantedPod[],
): { workload: string } | Record<never, never> {
  if (!WORKLOADS.includes(kind) || !isMap(root)) return {};
  if (first !== undefined) {
    return { workload: `${first.manifest.metadata.namespace ?? "default"}/${first.owner}` };
  }
  // With no replicas, its name is to be had from itself alone.
  const name = root.getIn(["metadata", "name"]);
  const namespace = root.getIn(["metadata", "namespace"]) ?? "default";
  return typeof name === "string" ? { workload: `${namespace}/${kind}/${name}` } : {};
}

/** What `use` makes of a document, unless a field of it is wrong by itself. */
function read<T>(
  schema: Schema<T>,
  root: Node,
  reader: ManifestReader,
  report: Report,
  use: (manifest: T, report: Report) => WantedPod[],
): WantedPod[] {
  const before = reader.problemCount();
  const manifest = schema.read(root, "", reader);
  return reader.problemCount() > before ? [] : use(manifest, report);
}

function addObject(
  kind: ObjectKind,
  { name, namespace = "default" }: ObjectMetaFields,
  contents: Contents,
  objects: ObjectSet,
  report: Report,
): WantedPod[] {
  if (name === undefined) report("metadata.name", "is required");
  else if (!objects.add(kind, namespace, name, contents)) {
    report("metadata.name", `the ${kind} ${namespace}/${name} is given twice`);
  }
  return [];
}

/** Another kind is one problem, not one for each field that a Pod does not have. */
function kindOf(root: Node, reader: ManifestReader): string | undefined {
  if (!isMap(root)) {
    reader.problem(root, "", `expected a Pod, got ${describe(root)}`);
    return undefined;
  }
  if (!root.has("kind") && !root.has("apiVersion")) {
    const hint = root.has("services")
      ? "it looks like a Compose file, which podrt does not read"
      : "begin it with `apiVersion: v1` and `kind: Pod`";
    reader.problem(root, "", `is no manifest of Kubernetes, having neither kind nor apiVersion; ${hint}`);
    return undefined;
  }
  const kind = root.get("kind", true) as Node | undefined;
  // What is no word is told of by the reader of a Pod.
  if (!isScalar(kind) || typeof kind.value !== "string") return "Pod";
  if (Object.hasOwn(KINDS, kind.value)) return kind.value;
  if (Object.hasOwn(NO_EFFECT, kind.value)) {
    reader.note(kind, "kind", `${kind.value} ${NO_EFFECT[kind.value]}`);
    return undefined;
  }
  const known = Object.keys(KINDS);
  const meant = nearMiss(kind.value, known);
  const hint = meant === undefined ? `only ${known.join(", ")}` : `did you mean ${meant}?`;
  reader.problem(kind, "kind", `${kind.value} is not supported yet; ${hint}`);
  return undefined;
}

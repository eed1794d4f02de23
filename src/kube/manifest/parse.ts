// SPDX-License-Identifier: Apache-2.0
import { randomBytes, randomUUID } from "node:crypto";
import { type Document, isMap, isScalar, LineCounter, type Node, parseAllDocuments } from "yaml";
import { messageOf } from "../../errors.ts";
import type { Pod } from "../pod.ts";
import { checkPod } from "./checks.ts";
import { FIELDS, type PodManifest } from "./fields.ts";
import { nearMiss } from "./near-miss.ts";
import { Problems } from "./problems.ts";
import { ManifestReader } from "./reader.ts";
import { describe } from "./schema.ts";

const MAX_BYTES = 1024 * 1024;
const MAX_DOCUMENTS = 100;

/**
 * Reads the pods of a manifest: YAML 1.2, one or more documents, each a Pod of v1.
 *
 * All or nothing: any problem in any document throws a ManifestError that lists the problems of all
 * of them. `fileName` is only what messages call the text.
 */
export function parseManifest(text: string, fileName: string): Pod[] {
  const lineCounter = new LineCounter();
  const problems = new Problems(fileName === "-" ? "stdin" : fileName, lineCounter);
  const documents = parseDocuments(text, lineCounter, problems);
  const pods: Pod[] = [];
  for (const document of documents) {
    const pod = readDocument(document, problems);
    if (pod === undefined) continue;
    if (pods.some((other) => other.name === pod.name && other.namespace === pod.namespace)) {
      problems.add(document.range[0], "metadata.name", `the pod ${pod.namespace}/${pod.name} is given twice`);
    }
    pods.push(pod);
  }
  if (problems.count() === 0 && pods.length === 0) problems.add(0, "", "holds no pod");
  problems.throwIfAny();
  return pods;
}

function parseDocuments(text: string, lineCounter: LineCounter, problems: Problems): Document.Parsed[] {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw problems.single(`is larger than ${MAX_BYTES / 1024} KiB`);
  }
  let documents: Document.Parsed[];
  try {
    // Keys given twice are found by the reader, whose check is not quadratic.
    const options = { lineCounter, uniqueKeys: false, prettyErrors: false, logLevel: "silent" } as const;
    documents = [...parseAllDocuments(text, options)];
  } catch (error) {
    if (error instanceof RangeError) throw problems.single("is nested too deeply");
    throw problems.single(`cannot be read: ${messageOf(error)}`);
  }
  if (documents.length > MAX_DOCUMENTS) throw problems.single(`has more than ${MAX_DOCUMENTS} documents`);
  for (const document of documents) {
    for (const { pos, message } of [...document.errors, ...document.warnings]) {
      const isTooDeep = message.startsWith("Maximum call stack");
      problems.add(pos[0], "", isTooDeep ? "is nested too deeply" : message.split("\n")[0]!);
    }
  }
  problems.throwIfAny();
  return documents;
}

function readDocument(document: Document.Parsed, problems: Problems): Pod | undefined {
  const root = document.contents as Node | null;
  if (root === null || (isScalar(root) && root.value === null)) return undefined;
  const before = problems.count();
  const reader = new ManifestReader(document, problems);
  if (!isPod(root, reader)) return undefined;
  const manifest = FIELDS.Pod.read(root, "", reader);
  if (problems.count() > before) return undefined;
  checkPod(manifest, (path, message) => problems.add(reader.offsetOf(path), path, message));
  return problems.count() > before ? undefined : toPod(manifest);
}

/** Another kind is one problem, not one for each field that a Pod does not have. */
function isPod(root: Node, reader: ManifestReader): boolean {
  if (!isMap(root)) {
    reader.problem(root, "", `expected a Pod, got ${describe(root)}`);
    return false;
  }
  const kind = root.get("kind", true) as Node | undefined;
  if (!isScalar(kind) || typeof kind.value !== "string" || kind.value === "Pod") return true;
  const hint = nearMiss(kind.value, ["Pod"]) === undefined ? "" : "; did you mean Pod?";
  reader.problem(kind, "kind", `${kind.value} is not supported yet, only Pod${hint}`);
  return false;
}

function toPod({ metadata, spec }: PodManifest): Pod {
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name ?? `${metadata.generateName}${randomBytes(3).toString("hex").slice(0, 5)}`,
    uid: metadata.uid ?? randomUUID(),
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    spec,
  };
}

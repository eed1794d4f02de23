// SPDX-License-Identifier: Apache-2.0

import type { PodSpec } from "./fields.ts";
import { nearMiss } from "./near-miss.ts";
import type { ConfigMapManifest, SecretManifest } from "./object-fields.ts";
import { type Reference, referencesOf } from "./references.ts";
import { type ServiceName, ServiceSet } from "./services.ts";

/** The contents of a ConfigMap or Secret: each value by its key, in base64. */
export type Contents = Readonly<Record<string, string>>;

/** What pods refer to by name, with what a pod of theirs carries along. */
export interface PodObjects {
  readonly configMaps: Readonly<Record<string, Contents>>;
  readonly secrets: Readonly<Record<string, Contents>>;
  /** Names of the claims, whose directories outlive the pod. */
  readonly claims: readonly string[];
  /** The Services that lead to the pod; absent for a pod that an earlier podrt kept. */
  readonly services?: readonly ServiceName[];
}

export const NO_OBJECTS: PodObjects = { configMaps: {}, secrets: {}, claims: [] };

/** The types of Secrets whose keys Kubernetes prescribes. */
const KEYS_OF_TYPE: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

type Report = (path: string, message: string) => void;

export function configMapContents(
  { data = {}, binaryData = {} }: ConfigMapManifest,
  report: Report,
): Contents {
  for (const key of Object.keys(binaryData)) {
    if (Object.hasOwn(data, key)) report(`binaryData[${JSON.stringify(key)}]`, "is in data too");
  }
  return { ...encoded(data), ...joined(binaryData) };
}

/** As in Kubernetes, stringData goes before data. */
export function secretContents(
  { type = "Opaque", data = {}, stringData = {} }: SecretManifest,
  report: Report,
): Contents {
  const contents = { ...joined(data), ...encoded(stringData) };
  for (const key of KEYS_OF_TYPE[type] ?? []) {
    if (!Object.hasOwn(contents, key)) report("data", `a Secret of type ${type} needs the key ${key}`);
  }
  return contents;
}

function encoded(texts: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(texts, (text) => Buffer.from(text, "utf8").toString("base64"));
}

function joined(values: Readonly<Record<string, string>>): Record<string, string> {
  return mapValues(values, (value) => value.replace(/[\r\n]/g, ""));
}

function mapValues(
  record: Readonly<Record<string, string>>,
  change: (value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** The objects of a manifest, by kind and name, each in its namespace. */
export class ObjectSet {
  readonly #objects = new Map<string, Contents>();
  readonly services = new ServiceSet();

  /** False where there is one of this kind and name already. */
  add(kind: Reference["kind"], namespace: string, name: string, contents: Contents): boolean {
    const key = keyOf(kind, namespace, name);
    if (this.#objects.has(key)) return false;
    this.#objects.set(key, contents);
    return true;
  }

  size(): number {
    return this.#objects.size + this.services.size();
  }

  /** What a pod with this spec takes along; what it asks for in vain is reported. */
  objectsFor(spec: PodSpec, namespace: string, report: Report): PodObjects {
    const configMaps: Record<string, Contents> = {};
    const secrets: Record<string, Contents> = {};
    const claims = new Set<string>();
    for (const reference of referencesOf(spec)) {
      const { kind, name } = reference;
      const contents = this.#objects.get(keyOf(kind, namespace, name));
      if (contents === undefined) {
        if (!reference.optional) report(reference.path, this.#missing(reference, namespace));
        continue;
      }
      for (const key of reference.optional ? [] : reference.keys) {
        if (Object.hasOwn(contents, key)) continue;
        const meant = nearMiss(key, Object.keys(contents));
        const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
        report(reference.path, `the ${kind} ${name} has no key ${JSON.stringify(key)}${hint}`);
      }
      if (kind === "ConfigMap") configMaps[name] = contents;
      else if (kind === "Secret") secrets[name] = contents;
      else claims.add(name);
    }
    return { configMaps, secrets, claims: [...claims] };
  }

  #missing({ kind, name }: Reference, namespace: string): string {
    const prefix = keyOf(kind, namespace, "");
    const others = [...this.#objects.keys()].filter((key) => key.startsWith(prefix));
    const meant = nearMiss(
      name,
      others.map((key) => key.slice(prefix.length)),
    );
    const hint = meant === undefined ? "add it to the manifest" : `did you mean ${meant}?`;
    return `there is no ${kind} ${JSON.stringify(name)} in this manifest in namespace ${namespace}; ${hint}`;
  }
}

function keyOf(kind: Reference["kind"], namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

/** Bytes that the objects of one pod take in its record, about. */
export function sizeOf({ configMaps, secrets }: PodObjects): number {
  const contents = [...Object.values(configMaps), ...Object.values(secrets)];
  return contents.flatMap((of) => Object.values(of)).reduce((sum, value) => sum + value.length, 0);
}

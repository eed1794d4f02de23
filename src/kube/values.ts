// SPDX-License-Identifier: Apache-2.0
import { parseQuantity } from "../lib/quantity.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { FieldRefSpec, ResourceFieldRefSpec } from "./manifest/value-fields.ts";
import type { Pod, PodHome } from "./pod.ts";
import { limitsOf } from "./resources.ts";

/** What is only known of a pod once it has a sandbox. */
export interface PodPlace {
  /** Of the sandbox, the first address first; empty with the host's network. */
  readonly addresses: readonly string[];
}

type Machine = Pick<PodHome, "nodeName" | "hostAddresses" | "cpuCount" | "machineMemoryBytes">;

/** A field of the pod as its containers are told of it (the downward API). */
export function fieldValue(
  { fieldPath }: FieldRefSpec,
  pod: Pod,
  machine: Machine,
  place: PodPlace | undefined,
): string {
  const [, map, key] = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(fieldPath) ?? [];
  if (map === "labels" || map === "annotations") return pod[map][key!] ?? "";
  const hostAddresses = machine.hostAddresses();
  const addresses = pod.spec.hostNetwork ? hostAddresses : (place?.addresses ?? []);
  switch (fieldPath) {
    case "metadata.name":
      return pod.name;
    case "metadata.namespace":
      return pod.namespace;
    case "metadata.uid":
      return pod.uid;
    case "metadata.labels":
      return lines(pod.labels);
    case "metadata.annotations":
      return lines(pod.annotations);
    case "spec.nodeName":
      return machine.nodeName;
    case "status.hostIP":
      return hostAddresses[0] ?? "";
    case "status.hostIPs":
      return hostAddresses.join(",");
    case "status.podIP":
      return addresses[0] ?? "";
    case "status.podIPs":
      return addresses.join(",");
    default:
      throw new Error(`the field ${fieldPath} was let through by the reader of manifests`);
  }
}

/** One `key="value"` a line, sorted, with the escapes of Go's strconv.Quote that a shell can read. */
function lines(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

/**
 * What a container has of a resource, in units of the divisor, rounded up. A limit that is not set is the pod's, or
 * else all that the machine has; a request that is not set is the container's limit, or else nothing.
 */
export function resourceValue(
  { resource, divisor }: ResourceFieldRefSpec,
  container: ContainerSpec,
  spec: PodSpec,
  machine: Machine,
): string {
  const [kind, name] = resource.split(".") as ["limits" | "requests", keyof Amounts];
  const { limits, requests } = container.resources ?? {};
  const amount =
    kind === "limits"
      ? (limitsOf(container, spec)[name] ?? all(name, machine))
      : (requests?.[name] ?? limits?.[name] ?? 0);
  // CPU is counted in thousandths, everything else in bytes.
  const unit = name === "cpu" ? 1000 : 1;
  return String(Math.ceil(amount / (unit * divisorOf(divisor))));
}

type Amounts = Required<NonNullable<NonNullable<PodSpec["resources"]>["limits"]>>;

function all(name: keyof Amounts, { cpuCount, machineMemoryBytes }: Machine): number {
  if (name === "cpu") return cpuCount * 1000;
  return name === "memory" ? machineMemoryBytes : 0;
}

function divisorOf(text: string | undefined): number {
  return (text === undefined ? 0 : parseQuantity(text)) || 1;
}

// SPDX-License-Identifier: Apache-2.0

import type { Runtime } from "../container/runtime.ts";
import { containerItem } from "../container/status.ts";
import type { Container, ContainerFilter, PodSandbox, PodSandboxFilter } from "../gen/runtime/v1/api_pb.ts";
import { sandboxItem } from "../sandbox/status.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { findContainer, findSandbox, isVisibleSandbox } from "./lookup.ts";

/** The sandboxes that a filter selects, newest first; no filter, or an empty one, selects all. */
export function selectSandboxes(runtime: Runtime, filter: PodSandboxFilter | undefined): PodSandbox[] {
  return sandboxCandidates(runtime, filter?.id ?? "")
    .toSorted(newestFirst)
    .map(sandboxItem)
    .filter((item) => filter?.state === undefined || item.state === filter.state.state)
    .filter((item) => hasLabels(item.labels, filter?.labelSelector));
}

/** The containers that a filter selects, newest first; no filter, or an empty one, selects all. */
export function selectContainers(runtime: Runtime, filter: ContainerFilter | undefined): Container[] {
  return containerCandidates(runtime, filter)
    .toSorted(newestFirst)
    .map(containerItem)
    .filter((item) => filter?.state === undefined || item.state === filter.state.state)
    .filter((item) => hasLabels(item.labels, filter?.labelSelector));
}

/** The same selection for statistics, which come in any state: records, newest first. */
export function selectSandboxRecords(
  runtime: Runtime,
  filter: Pick<PodSandboxFilter, "id" | "labelSelector"> | undefined,
): SandboxRecord[] {
  return sandboxCandidates(runtime, filter?.id ?? "")
    .filter((record) => hasLabels(sandboxItem(record).labels, filter?.labelSelector))
    .toSorted(newestFirst);
}

/** The same selection for statistics, which come in any state: records, newest first. */
export function selectContainerRecords(
  runtime: Runtime,
  filter: Pick<ContainerFilter, "id" | "podSandboxId" | "labelSelector"> | undefined,
): ContainerRecord[] {
  return containerCandidates(runtime, filter)
    .filter((record) => hasLabels(containerItem(record).labels, filter?.labelSelector))
    .toSorted(newestFirst);
}

function sandboxCandidates(runtime: Runtime, id: string): SandboxRecord[] {
  if (id === "") return runtime.sandboxes.list().filter(isVisibleSandbox);
  const record = findSandbox(runtime, id, "filter.id");
  return record === undefined ? [] : [record];
}

function containerCandidates(
  runtime: Runtime,
  filter: Pick<ContainerFilter, "id" | "podSandboxId"> | undefined,
): ContainerRecord[] {
  const { id = "", podSandboxId = "" } = filter ?? {};
  const found = id === "" ? undefined : findContainer(runtime, id, "filter.id");
  if (id !== "" && found === undefined) return [];
  const records =
    found === undefined ? runtime.containers.list().filter((record) => record.created) : [found];
  if (podSandboxId === "") return records;
  const sandboxId = findSandbox(runtime, podSandboxId, "filter.pod_sandbox_id")?.id;
  return records.filter((record) => record.sandboxId === sandboxId);
}

/** Nanosecond times are decimal strings: the longer, then the greater in text, is the later. */
export function newestFirst(
  a: { readonly createdAtNs: string },
  b: { readonly createdAtNs: string },
): number {
  const [x, y] = [a.createdAtNs, b.createdAtNs];
  return y.length - x.length || (x < y ? 1 : x > y ? -1 : 0);
}

function hasLabels(labels: Record<string, string>, selector: Record<string, string> | undefined): boolean {
  return Object.entries(selector ?? {}).every(
    ([key, value]) => Object.hasOwn(labels, key) && labels[key] === value,
  );
}

// SPDX-License-Identifier: Apache-2.0

import type { ContainerView } from "./lifecycle.ts";
import type { ContainerSpec } from "./manifest/container-fields.ts";
import type { PodSpec } from "./manifest/fields.ts";
import type { ContainerMemory } from "./pod-record.ts";
import { isStartedAgain, shouldStart } from "./restart.ts";

/** Of an init container: whether it runs on beside the others, with restartPolicy Always. */
export function isSidecar(container: ContainerSpec): boolean {
  return container.restartPolicy === "Always";
}

export function sidecarsOf(spec: PodSpec): ContainerSpec[] {
  return (spec.initContainers ?? []).filter(isSidecar);
}

/** The init containers that must end before the next begins. */
export function stepsOf(spec: PodSpec): ContainerSpec[] {
  return (spec.initContainers ?? []).filter((container) => !isSidecar(container));
}

/** In the order in which they are started first. */
export function allContainers(spec: PodSpec): ContainerSpec[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/**
 * The containers whose time has come in a sandbox that has `views`, in the order in which they are to be
 * looked after. An init container waits for those before it, until they have succeeded or, being
 * sidecars, have started; the others wait for all of them. Once one of the others exists that is over
 * for good, and a sidecar that ends later holds up nobody.
 */
export function dueContainers(
  spec: PodSpec,
  views: readonly ContainerView[],
  hasStarted: (container: ContainerSpec) => boolean,
): ContainerSpec[] {
  const isThere = ({ name }: ContainerSpec) => views.some((view) => view.name === name);
  if (spec.containers.some(isThere)) return [...sidecarsOf(spec), ...spec.containers];
  const inits = spec.initContainers ?? [];
  const furthest = inits.findLastIndex(isThere);
  const due: ContainerSpec[] = [];
  for (const [index, container] of inits.entries()) {
    const isPassed = isSidecar(container) ? hasStarted(container) : hasSucceeded(container, views);
    if (isSidecar(container) || !(isPassed || index < furthest)) due.push(container);
    if (!isPassed && index >= furthest) return due;
  }
  return [...due, ...spec.containers];
}

/** Whether a container whose time has come and which does not run is to run. */
export function mayRun(spec: PodSpec, container: ContainerSpec, seen: Seen): boolean {
  if (!(spec.initContainers ?? []).includes(container)) return shouldStart(spec, container, seen.memory);
  if (isSidecar(container) || seen.newest === undefined) return true;
  return seen.newest.exitCode !== 0 && isStartedAgain(spec, container, seen.newest);
}

interface Seen {
  readonly memory: ContainerMemory;
  /** Of this sandbox. */
  readonly newest: ContainerView | undefined;
}

/** Whether nothing of the pod is to be started any more, by the ends that are remembered. */
export function isOver(spec: PodSpec, memory: (name: string) => ContainerMemory): boolean {
  const hasFailed = stepsOf(spec).some((step) => {
    const { lastExit } = memory(step.name);
    return lastExit !== undefined && lastExit.exitCode !== 0 && !isStartedAgain(spec, step, lastExit);
  });
  return (
    hasFailed || spec.containers.every((container) => !shouldStart(spec, container, memory(container.name)))
  );
}

function hasSucceeded({ name }: ContainerSpec, views: readonly ContainerView[]): boolean {
  const newest = views.filter((view) => view.name === name).toSorted((a, b) => b.attempt - a.attempt)[0];
  return newest?.state === "exited" && newest.exitCode === 0;
}

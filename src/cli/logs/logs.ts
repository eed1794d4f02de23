// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../../errors.ts";
import type { Container } from "../../gen/runtime/v1/api_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, openDaemon, promptly } from "../client.ts";
import { ridingOutAbsence } from "../daemon-absence.ts";
import {
  containerName,
  containersOf,
  findContainer,
  findPod,
  hasEnded,
  type Inventory,
  noPodOrContainer,
  type PodEntry,
  podTitle,
  takeInventory,
} from "../inventory.ts";
import { LOOK_MS } from "../look.ts";
import type { Context } from "../program.ts";
import { type Painter, painter, sourceColors } from "../table.ts";
import { followLogs } from "./follow.ts";

interface Options {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly timestamps?: boolean;
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly previous?: boolean;
}

/** Prints the log of a container, or those of all containers of a pod in the order of the times of their lines. */
export async function logs({ io, socketPath }: Context, name: string, options: Options): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const { container, pod } = chooseTarget(inventory, name, options.previous ?? false);
  if (container !== undefined) await requireLog(daemon, container);
  const paint = painter(io);
  await using follower = followLogs(daemon, io, {
    prefixOf: pod === undefined ? () => "" : prefixOf(pod, paint),
    showTimes: options.timestamps ?? false,
    ...(options.tail === undefined ? {} : { tail: options.tail }),
    ...(options.since === undefined ? {} : { since: options.since }),
  });
  let state = container === undefined ? stateOf(pod!, options) : containerLogs([container]);
  if (!options.follow && state.containers.length === 0) throw nothingYet(pod!, options);
  await follower.advance(state.containers);
  const look = ridingOutAbsence(async () => {
    const found =
      container === undefined
        ? await lookAtPod(daemon, pod!, options)
        : await lookAtContainer(daemon, container);
    await follower.advance(found.containers);
    return found;
  });
  while (options.follow && !state.isOver && !io.interrupted.aborted) {
    await sleep(LOOK_MS, io.interrupted).catch(() => {});
    state = (await look()) ?? state;
  }
  return 0;
}

/** What there is to be read, oldest first, and whether no more will come. */
interface LogState {
  readonly containers: readonly Container[];
  readonly isOver: boolean;
}

function chooseTarget(
  inventory: Inventory,
  name: string,
  isPrevious: boolean,
): { container?: Container; pod?: PodEntry } {
  const pod = findPod(inventory, name);
  if (pod !== undefined) return { pod };
  const container = findContainer(inventory, name);
  if (container === undefined) {
    throw noPodOrContainer(inventory, name);
  }
  return { container: isPrevious ? previousOf(inventory, container) : container };
}

/** The attempt before `container`. */
function previousOf(inventory: Inventory, container: Container): Container {
  const name = containerName(container);
  const pod = inventory.pods.find(({ containers }) => containers.some(({ id }) => id === container.id));
  const attempts = pod?.containers.filter((other) => containerName(other) === name) ?? [];
  const previous = attempts[attempts.findIndex(({ id }) => id === container.id) + 1];
  if (previous !== undefined) return previous;
  throw new FailedPreconditionError(
    `there is no container before ${container.id.slice(0, 13)} (${name}): it was not started again, or what it was before is removed; leave --previous out`,
  );
}

function prefixOf(pod: PodEntry, paint: Painter): (container: Container) => string {
  // Also of those that are still to come.
  const planned = pod.kept === undefined ? [] : containersOf(pod.kept).map(({ name }) => name);
  const names = [...new Set([...planned, ...pod.containers.toReversed().map(containerName)])];
  const width = Math.max(0, ...names.map((name) => name.length));
  return (container) => {
    const name = containerName(container);
    if (names.length <= 1 && names[0] === name) return "";
    return paint(
      `${name.padEnd(width)} | `,
      sourceColors[Math.max(0, names.indexOf(name)) % sourceColors.length]!,
    );
  };
}

/** The newest attempt of each container, or the one before it. */
function stateOf({ kept, containers }: PodEntry, { previous }: Options): LogState {
  const names = new Set(containers.map(containerName));
  const chosen = [...names].flatMap((name) => {
    const attempts = containers.filter((other) => containerName(other) === name);
    return attempts.slice(previous ? 1 : 0, previous ? 2 : 1);
  });
  // A kept pod restarts its containers, so their end is not the pod's.
  const isOver = kept === undefined || previous ? chosen.every(hasEnded) : OVER.has(kept.phase);
  return { containers: chosen.toReversed(), isOver };
}

const OVER: ReadonlySet<string> = new Set(["Succeeded", "Failed", "Stopped"]);

function containerLogs(containers: readonly Container[]): LogState {
  return { containers, isOver: containers.every(hasEnded) };
}

function nothingYet(pod: PodEntry, { previous }: Options): FailedPreconditionError {
  const { kept } = pod;
  if (previous) {
    return new FailedPreconditionError(
      `no container of pod ${podTitle(pod)} was started again; leave --previous out`,
    );
  }
  const why = kept?.reason || kept?.containers.find(({ reason }) => reason !== "")?.reason || kept?.phase;
  return new FailedPreconditionError(
    `pod ${pod.name} has no container yet${why === undefined ? "" : `: ${why}`}`,
  );
}

async function requireLog(daemon: Daemon, { id, metadata }: Container): Promise<void> {
  const { status } = await daemon.runtime.containerStatus({ containerId: id }, promptly());
  if (status?.logPath) return;
  throw new FailedPreconditionError(`container ${metadata?.name} was made without a log file`);
}

async function lookAtPod(daemon: Daemon, { uid }: PodEntry, options: Options): Promise<LogState> {
  const pod = (await takeInventory(daemon)).pods.find((other) => other.uid === uid);
  return pod === undefined ? { containers: [], isOver: true } : stateOf(pod, options);
}

async function lookAtContainer(daemon: Daemon, { id }: Container): Promise<LogState> {
  const { containers } = await daemon.runtime.listContainers({ filter: { id } }, promptly());
  return containerLogs(containers);
}

// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { type Container, ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { sleep } from "../lib/deadline.ts";
import { type Daemon, openDaemon, promptly } from "./client.ts";
import { followLogs } from "./follow-logs.ts";
import {
  containerName,
  findContainer,
  findPod,
  type Inventory,
  type PodEntry,
  takeInventory,
} from "./inventory.ts";
import type { Context } from "./program.ts";

interface Options {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly timestamps?: boolean;
}

/** How often a log that is followed is looked at. */
const FOLLOW_MS = 200;

export async function logs({ io, socketPath }: Context, name: string, options: Options): Promise<number> {
  using daemon = openDaemon(socketPath);
  const inventory = await takeInventory(daemon);
  const { container, pod } = chooseTarget(inventory, name);
  if (container !== undefined) await requireLog(daemon, container);
  await using follower = followLogs(daemon, io, {
    prefixOf: pod === undefined ? () => "" : prefixOf(pod),
    showTimes: options.timestamps ?? false,
    ...(options.tail === undefined ? {} : { tail: options.tail }),
  });
  let state = container === undefined ? stateOf(pod!) : containerLogs([container]);
  if (!options.follow && state.containers.length === 0) throw nothingYet(pod!);
  await follower.advance(state.containers);
  while (options.follow && !state.isOver && !io.interrupted.aborted) {
    await sleep(FOLLOW_MS, io.interrupted).catch(() => {});
    state =
      container === undefined ? await lookAtPod(daemon, pod!) : await lookAtContainer(daemon, container);
    await follower.advance(state.containers);
  }
  return 0;
}

/** What there is to be read, oldest first, and whether no more will come. */
interface LogState {
  readonly containers: readonly Container[];
  readonly isOver: boolean;
}

function chooseTarget(inventory: Inventory, name: string): { container?: Container; pod?: PodEntry } {
  const pod = findPod(inventory, name);
  const container = pod === undefined ? findContainer(inventory, name) : undefined;
  if (pod !== undefined) return { pod };
  if (container !== undefined) return { container };
  throw new NotFoundError(`there is no container or pod ${name}; \`podrt ps -a\` lists them`);
}

function prefixOf(pod: PodEntry): (container: Container) => string {
  const names = new Set(pod.containers.map(containerName));
  const width = Math.max(0, ...[...names].map((name) => name.length));
  return (container) => (names.size === 1 ? "" : `${containerName(container).padEnd(width)} | `);
}

/** The newest attempt of each container: what earlier ones wrote is not what is asked for. */
function stateOf({ kept, containers }: PodEntry): LogState {
  const names = new Set(containers.map(containerName));
  const newest = [...names].map((name) => containers.find((other) => containerName(other) === name)!);
  // A kept pod restarts its containers, so their end is not the pod's.
  const isOver = kept === undefined ? newest.every(hasEnded) : OVER.has(kept.phase);
  return { containers: newest.toReversed(), isOver };
}

const OVER: ReadonlySet<string> = new Set(["Succeeded", "Failed", "Stopped"]);

function containerLogs(containers: readonly Container[]): LogState {
  return { containers, isOver: containers.every(hasEnded) };
}

function nothingYet({ name, kept }: PodEntry): FailedPreconditionError {
  const why = kept?.reason || kept?.containers.find(({ reason }) => reason !== "")?.reason || kept?.phase;
  return new FailedPreconditionError(
    `pod ${name} has no container yet${why === undefined ? "" : `: ${why}`}`,
  );
}

async function requireLog(daemon: Daemon, { id, metadata }: Container): Promise<void> {
  const { status } = await daemon.runtime.containerStatus({ containerId: id }, promptly());
  if (status?.logPath) return;
  throw new FailedPreconditionError(`container ${metadata?.name} was made without a log file`);
}

function hasEnded({ state }: Container): boolean {
  return state === ContainerState.CONTAINER_EXITED || state === ContainerState.CONTAINER_UNKNOWN;
}

async function lookAtPod(daemon: Daemon, { uid }: PodEntry): Promise<LogState> {
  const pod = (await takeInventory(daemon)).pods.find((other) => other.uid === uid);
  return pod === undefined ? { containers: [], isOver: true } : stateOf(pod);
}

async function lookAtContainer(daemon: Daemon, { id }: Container): Promise<LogState> {
  const { containers } = await daemon.runtime.listContainers({ filter: { id } }, promptly());
  return containerLogs(containers);
}

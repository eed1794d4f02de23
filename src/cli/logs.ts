// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, NotFoundError } from "../errors.ts";
import { type Container, ContainerState } from "../gen/runtime/v1/api_pb.ts";
import { sleep } from "../lib/deadline.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "./client.ts";
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
  let present = container === undefined ? newestOf(pod!) : [container];
  await follower.advance(present.toReversed());
  while (options.follow && !io.interrupted.aborted) {
    const isOver = container === undefined ? isPodOver(pod!, present) : present.every(hasEnded);
    if (isOver || present.length === 0) break;
    await sleep(FOLLOW_MS, io.interrupted).catch(() => {});
    present = container === undefined ? await podContainers(daemon, pod!) : await oneContainer(daemon, container);
    await follower.advance(present.toReversed());
  }
  return 0;
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
function newestOf({ containers }: PodEntry): Container[] {
  const names = new Set(containers.map(containerName));
  return [...names].map((name) => containers.find((container) => containerName(container) === name)!);
}

async function requireLog(daemon: Daemon, { id, metadata }: Container): Promise<void> {
  const { status } = await daemon.runtime.containerStatus({ containerId: id }, promptly());
  if (status?.logPath) return;
  throw new InvalidArgumentError("", `container ${metadata?.name} was made without a log file`);
}

function hasEnded({ state }: Container): boolean {
  return state === ContainerState.CONTAINER_EXITED || state === ContainerState.CONTAINER_UNKNOWN;
}

/** A kept pod restarts its containers, so it goes on until podrt keeps it no more. */
function isPodOver({ kept }: PodEntry, containers: readonly Container[]): boolean {
  return kept === undefined && containers.every(hasEnded);
}

async function podContainers(daemon: Daemon, pod: PodEntry): Promise<Container[]> {
  const inventory = await takeInventory(daemon);
  const found = inventory.pods.find(({ uid }) => uid === pod.uid);
  if (found === undefined) return [];
  const isKeptOver = ["Succeeded", "Failed", "Stopped"].includes(found.kept?.phase ?? "");
  return isKeptOver ? newestOf(found).filter((container) => !hasEnded(container)) : newestOf(found);
}

async function oneContainer(daemon: Daemon, { id }: Container): Promise<Container[]> {
  try {
    const { containers } = await daemon.runtime.listContainers({ filter: { id } }, promptly());
    return containers;
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

// SPDX-License-Identifier: Apache-2.0
import type { Container } from "../../gen/runtime/v1/api_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { type Daemon, isNotFound, openDaemon, promptly } from "../client.ts";
import { ridingOutAbsence } from "../daemon-absence.ts";
import { ExitCode } from "../exit-code.ts";
import {
  containerName,
  containersOf,
  findContainer,
  findPod,
  hasEnded,
  type Inventory,
  noPodOrContainer,
  type PodEntry,
  takeInventory,
} from "../inventory.ts";
import { LOOK_MS } from "../look.ts";
import { isDocument } from "../output/format.ts";
import { printDocument } from "../output/print.ts";
import type { Context } from "../program.ts";
import { type Awaited, containerProgress, newestOf, type Progress, podProgress } from "./condition.ts";

interface Options {
  readonly for: Awaited;
  /** Milliseconds; undefined for as long as it takes. */
  readonly timeout?: number;
}

/**
 * Waits for what a pod or container is to come to, and exits with 0 when it has, 3 when it cannot any more, and 124 when
 * the time is up. Of an end it prints the exit codes.
 */
export async function wait(
  { io, socketPath, output }: Context,
  name: string,
  options: Options,
): Promise<number> {
  using daemon = openDaemon(socketPath);
  const target = chooseTarget(await takeInventory(daemon), name);
  const endMs = performance.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
  let ends: readonly End[] = [];
  const look = ridingOutAbsence(async () => {
    const progress = target.progress(await takeInventory(daemon), options.for);
    if (options.for === "exit") ends = await endsOf(daemon, target.watched(), ends);
    return progress;
  });
  const title = `${target.container === undefined ? "pod" : "container"} ${name}`;
  for (;;) {
    const progress = (await look()) ?? AWAY;
    if (progress.is === "met") {
      if (isDocument(output))
        await printDocument({ io, output }, { name, met: options.for, containers: ends });
      else if (options.for === "exit") await io.out(lines(ends, target.container !== undefined));
      return 0;
    }
    if (progress.is === "never") {
      await io.err(`podrt: ${title} will not come to ${options.for}: it is ${progress.state}\n`);
      return ExitCode.never;
    }
    if (performance.now() >= endMs) {
      const waited = `${(options.timeout ?? 0) / 1000} s`;
      await io.err(
        `podrt: ${title} has not come to ${options.for} within ${waited}: it is ${progress.state}\n`,
      );
      return ExitCode.timedOut;
    }
    await sleep(Math.min(LOOK_MS, Math.max(0, endMs - performance.now())), io.interrupted).catch(() => {});
    if (io.interrupted.aborted) return ExitCode.interrupted;
  }
}

const AWAY: Progress = { is: "pending", state: "unknown, since the daemon is away" };

interface Target {
  /** Its name, where it is a container that is waited for. */
  readonly container: string | undefined;
  progress(inventory: Inventory, awaited: Awaited): Progress;
  /** The containers whose ends are of interest, as of the last look. */
  watched(): readonly Container[];
}

function chooseTarget(inventory: Inventory, name: string): Target {
  const pod = findPod(inventory, name);
  if (pod !== undefined) return podTarget(pod);
  const container = findContainer(inventory, name);
  const owner =
    container === undefined
      ? inventory.pods.find((other) => plannedNames(other).includes(name))
      : inventory.pods.find(({ containers }) => containers.some(({ id }) => id === container.id));
  if (owner === undefined) throw noPodOrContainer(inventory, name);
  const wanted = container === undefined ? name.slice(name.lastIndexOf("/") + 1) : containerName(container);
  return containerTarget(owner, wanted, container);
}

/** POD/CONTAINER of those that are still to be made. */
function plannedNames({ kept, name, namespace }: PodEntry): string[] {
  if (kept === undefined) return [];
  return containersOf(kept).flatMap((container) => [
    `${name}/${container.name}`,
    `${namespace}/${name}/${container.name}`,
  ]);
}

function podTarget({ uid, kept }: PodEntry): Target {
  /** As its manifest has them, then those that somebody else has made. */
  const order = kept === undefined ? [] : containersOf(kept).map(({ name }) => name);
  const rank = (container: Container) => {
    const position = order.indexOf(containerName(container));
    return position < 0 ? order.length : position;
  };
  // What is being removed goes one by one.
  const watched = new Map<string, Container>();
  return {
    container: undefined,
    progress({ pods }, awaited) {
      const pod = pods.find((other) => other.uid === uid);
      const newest = pod === undefined ? [] : newestOf(pod.containers).toReversed();
      for (const container of newest) watched.set(containerName(container), container);
      return podProgress(pod, awaited);
    },
    watched: () => [...watched.values()].toSorted((a, b) => rank(a) - rank(b)),
  };
}

/** An end is that of the container that is there now, whatever follows it, else that of the first to come. */
function containerTarget({ uid }: PodEntry, name: string, present: Container | undefined): Target {
  let attempt = present;
  return {
    container: name,
    progress({ pods }, awaited) {
      const pod = pods.find((other) => other.uid === uid);
      const now = pod?.containers.find((container) =>
        attempt === undefined ? containerName(container) === name : container.id === attempt.id,
      );
      attempt = now ?? attempt;
      return containerProgress(pod, name, attempt, awaited);
    },
    watched: () => (attempt === undefined ? [] : [attempt]),
  };
}

interface End {
  readonly id: string;
  readonly name: string;
  /** Undefined while it has not ended, and where it was removed before anybody could ask. */
  readonly exitCode?: number;
  readonly reason?: string;
}

/** How the containers have ended; of those that are gone by now, as it was known before. */
async function endsOf(
  daemon: Daemon,
  containers: readonly Container[],
  before: readonly End[],
): Promise<End[]> {
  return Promise.all(
    containers.map(async (container): Promise<End> => {
      const name = containerName(container);
      const known = before.find(({ id }) => id === container.id);
      if (known?.exitCode !== undefined) return known;
      if (!hasEnded(container)) return { id: container.id, name };
      try {
        const { status } = await daemon.runtime.containerStatus({ containerId: container.id }, promptly());
        if (status === undefined || status.finishedAt === 0n) return { id: container.id, name };
        return { id: container.id, name, exitCode: status.exitCode, reason: status.reason };
      } catch (error) {
        if (isNotFound(error)) return known ?? { id: container.id, name };
        throw error;
      }
    }),
  );
}

/** The exit code alone of one container, else a line for each. */
function lines(ends: readonly End[], isOne: boolean): string {
  return ends
    .map(({ name, exitCode }) => {
      const code = exitCode === undefined ? "unknown" : String(exitCode);
      return isOne ? `${code}\n` : `${name} ${code}\n`;
    })
    .join("");
}

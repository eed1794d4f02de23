// SPDX-License-Identifier: Apache-2.0
import { type ContainerEventResponse, ContainerEventType } from "../../gen/runtime/v1/api_pb.ts";
import { sleep } from "../../lib/deadline.ts";
import { printable } from "../../lib/foreign-text.ts";
import type { Daemon } from "../client.ts";
import { shortId } from "../human.ts";
import { podTitle } from "../inventory.ts";

const MAX_NAME_CHARACTERS = 300;
const AGAIN_AFTER_MS = 2_000;
/** So many containers are known by name; of others the id is shown. */
const MAX_NAMES = 1_000;

/** Something that happened to a sandbox or a container. */
export interface EventLine {
  /** Counted from 1. */
  readonly number: number;
  /** Of ISO 8601, to the millisecond. */
  readonly at: string;
  readonly what: "created" | "started" | "stopped" | "removed";
  readonly pod: string;
  /** The container's name; undefined where it is the pod's sandbox. */
  readonly container: string | undefined;
  /** How a container ended, as in `Error, exit code 3`. */
  readonly detail: string;
}

const WORDS: Readonly<Record<number, EventLine["what"]>> = {
  [ContainerEventType.CONTAINER_CREATED_EVENT]: "created",
  [ContainerEventType.CONTAINER_STARTED_EVENT]: "started",
  [ContainerEventType.CONTAINER_STOPPED_EVENT]: "stopped",
  [ContainerEventType.CONTAINER_DELETED_EVENT]: "removed",
};

/** Tells of every event until `signal` aborts; a daemon that is away is asked again. */
export async function watchEvents(
  daemon: Daemon,
  signal: AbortSignal,
  onEvent: (event: EventLine) => void,
): Promise<void> {
  let count = 0;
  const names = new Map<string, string>();
  while (!signal.aborted) {
    try {
      for await (const event of daemon.runtime.getContainerEvents({}, { signal })) {
        remember(names, event);
        onEvent(eventLine(event, ++count, names));
      }
    } catch {
      // That it does not answer is told by those who ask for the state.
    }
    await sleep(AGAIN_AFTER_MS, signal).catch(() => {});
  }
}

/** A container that is removed is not among its pod's any more. */
function remember(names: Map<string, string>, { containersStatuses }: ContainerEventResponse): void {
  for (const { id, metadata } of containersStatuses) {
    names.delete(id);
    names.set(id, metadata?.name ?? "");
  }
  for (const oldest of names.keys()) {
    if (names.size <= MAX_NAMES) return;
    names.delete(oldest);
  }
}

function eventLine(
  event: ContainerEventResponse,
  number: number,
  names: ReadonlyMap<string, string>,
): EventLine {
  const { containerId, containerEventType, createdAt, podSandboxStatus, containersStatuses } = event;
  const { name = "", namespace = "" } = podSandboxStatus?.metadata ?? {};
  const container = containersStatuses.find(({ id }) => id === containerId);
  const isSandbox = podSandboxStatus?.id === containerId;
  const what = WORDS[containerEventType] ?? "created";
  const ending = what === "stopped" && container !== undefined;
  return {
    number,
    at: new Date(Number(createdAt / 1_000_000n)).toISOString(),
    what,
    pod: printable(podTitle({ name, namespace }), MAX_NAME_CHARACTERS),
    container: isSandbox
      ? undefined
      : printable(names.get(containerId) ?? shortId(containerId), MAX_NAME_CHARACTERS),
    detail: ending ? [container.reason, `exit code ${container.exitCode}`].filter(Boolean).join(", ") : "",
  };
}

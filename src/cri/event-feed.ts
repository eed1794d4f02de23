// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import type { LifecycleEvent } from "../container/events.ts";
import { containersOf, nowNs, type Runtime } from "../container/runtime.ts";
import { containerStatus } from "../container/status.ts";
import { ResourceExhaustedError } from "../errors.ts";
import {
  type ContainerEventResponse,
  ContainerEventResponseSchema,
  ContainerEventType,
} from "../gen/runtime/v1/api_pb.ts";
import { type BoundedQueue, itemsUntil, newBoundedQueue } from "../lib/bounded-queue.ts";
import { oncePer } from "../lib/once-per.ts";
import { sandboxStatus } from "../sandbox/status.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { eventsDropped } from "../telemetry/daemon-families.ts";

// A subscriber that is so far behind does not read any more; it has to list anyhow.
const QUEUE_LIMIT = 1000;
const MAX_SUBSCRIBERS = 64;

/** The lifecycle events of all sandboxes and containers, for any number of clients at a time up to a bound. */
export interface EventFeed {
  /**
   * Every event from this call on, until `signal` aborts: then it ends with the signal's reason. One that
   * falls too far behind ends with a ResourceExhaustedError.
   */
  subscribe(signal: AbortSignal): AsyncIterable<ContainerEventResponse>;
  /**
   * Keeps every event from this call on until the answer is called, for whoever subscribes first: what happened while
   * the daemon was away is found before there can be a subscriber.
   */
  keepForFirst(): () => void;
}

/** An event as it happened. Records are replaced, never changed, so these say for good how things were. */
interface Happening {
  readonly event: LifecycleEvent;
  readonly atNs: string;
  readonly sandbox: SandboxRecord | undefined;
  readonly containers: readonly ContainerRecord[];
}

/** Each event is noted as it happens, while somebody listens, and its message made once, when the first one reads it. */
export function openEventFeed(runtime: Runtime): EventFeed {
  const queues = new Set<BoundedQueue<Happening>>();
  let kept: BoundedQueue<Happening> | undefined;
  let unsubscribe = () => {};
  const onEvent = (event: LifecycleEvent) => {
    try {
      const happening = noteHappening(runtime, event);
      for (const queue of queues) queue.push(happening);
    } catch (error) {
      // Nobody may believe to have seen everything.
      for (const queue of queues) queue.fail(error);
    }
  };
  const add = (queue: BoundedQueue<Happening>) => {
    if (queues.size === 0) unsubscribe = runtime.events.subscribe(onEvent);
    queues.add(queue);
  };
  const remove = (queue: BoundedQueue<Happening>) => {
    if (queues.delete(queue) && queues.size === 0) unsubscribe();
  };
  const newQueue = () => {
    const queue = newBoundedQueue<Happening>(QUEUE_LIMIT, () => {
      remove(queue);
      // What is queued goes with the one that has no place.
      eventsDropped.add(QUEUE_LIMIT + 1);
      return new ResourceExhaustedError(
        `more than ${QUEUE_LIMIT} events were not read in time and are lost: list everything, and subscribe again`,
      );
    });
    return queue;
  };
  return {
    keepForFirst() {
      const queue = newQueue();
      kept = queue;
      add(queue);
      return () => {
        if (kept === queue) remove(queue);
      };
    },
    subscribe(signal) {
      if (queues.size >= MAX_SUBSCRIBERS) {
        throw new ResourceExhaustedError(
          `events already go to ${MAX_SUBSCRIBERS} clients, which is the most: end one of those`,
        );
      }
      const queue = kept ?? newQueue();
      kept = undefined;
      add(queue);
      return messagesOf(itemsUntil(queue, signal, () => remove(queue)));
    },
  };
}

const TYPES: Readonly<Record<LifecycleEvent["type"], ContainerEventType>> = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
};

/** The event with its sandbox and all containers of that as they are now, or, of a removed sandbox, were. */
function noteHappening(runtime: Runtime, event: LifecycleEvent): Happening {
  const sandbox = runtime.sandboxes.get(event.sandboxId) ?? event.removedSandbox;
  const containers = containersOf(runtime, event.sandboxId).filter(({ created }) => created);
  return { event, atNs: nowNs(), sandbox, containers };
}

const messageOf = oncePer(
  ({ event, atNs, sandbox, containers }: Happening): ContainerEventResponse =>
    create(ContainerEventResponseSchema, {
      containerId: event.containerId,
      containerEventType: TYPES[event.type],
      createdAt: BigInt(atNs),
      ...(sandbox === undefined ? {} : { podSandboxStatus: sandboxStatus(sandbox) }),
      containersStatuses: containers.map((container) => containerStatus(container)),
    }),
);

async function* messagesOf(happenings: AsyncIterable<Happening>): AsyncGenerator<ContainerEventResponse> {
  for await (const happening of happenings) yield messageOf(happening);
}

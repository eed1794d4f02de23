// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { LifecycleEvent } from "../../container/events.ts";
import { nowNs, type Runtime } from "../../container/runtime.ts";
import { ResourceExhaustedError } from "../../errors.ts";
import { type Event, EventSchema, type EventsRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import type { ImageChange } from "../../image/image-changes.ts";
import type { Pod } from "../../kube/pod.ts";
import type { PodNote } from "../../kube/pod-note.ts";
import { type BoundedQueue, itemsUntil, newBoundedQueue } from "../../lib/bounded-queue.ts";

/** What happened, for people: lifecycles, what befell kept pods, and images, with names and reasons. */
export interface EventLog {
  /** What is remembered, as far as it is asked for, and then every event until `signal` aborts. */
  follow(
    request: Pick<EventsRequest, "sinceNs" | "rememberedOnly">,
    signal: AbortSignal,
  ): AsyncIterable<Event>;
  /** Adds what became of a kept pod. */
  note(note: PodNote, pod: Pick<Pod, "namespace" | "name">): void;
}

/** Events that are remembered, and the characters of a message of one. */
const HISTORY = 2000;
const MESSAGE_LIMIT = 1024;
const QUEUE_LIMIT = 1000;
const MAX_FOLLOWERS = 64;

/** Listens from now on; what happened before the daemon was started is in records and logs only. */
export function openEventLog(
  runtime: Pick<Runtime, "events" | "sandboxes" | "containers" | "images">,
): EventLog {
  const queues = new Set<BoundedQueue<Event>>();
  const names = newNames(runtime);
  let history: Event[] = [];

  const add = (fields: Omit<MessageInitShape<typeof EventSchema>, "atNs" | "$typeName">) => {
    const message = fields.message ?? "";
    const event = create(EventSchema, {
      ...fields,
      message: message.length > MESSAGE_LIMIT ? `${message.slice(0, MESSAGE_LIMIT)}…` : message,
      atNs: BigInt(nowNs()),
    });
    history.push(event);
    // Cut now and then only: a removal from the front moves all others.
    if (history.length >= 2 * HISTORY) history = history.slice(-HISTORY);
    for (const queue of queues) queue.push(event);
  };
  runtime.events.subscribe((event) => add({ type: event.type, ...lifecycleFields(runtime, names, event) }));
  runtime.images.onChange((change) => add({ kind: "image", ...imageFields(change) }));

  const subscribe = (signal: AbortSignal): AsyncIterable<Event> => {
    if (queues.size >= MAX_FOLLOWERS) {
      throw new ResourceExhaustedError(
        `events are already followed by ${MAX_FOLLOWERS} clients, which is the most: end one of those`,
      );
    }
    const queue = newBoundedQueue<Event>(QUEUE_LIMIT, () => {
      queues.delete(queue);
      return new ResourceExhaustedError(
        `more than ${QUEUE_LIMIT} events were not read in time: follow again, from the time of the last one on`,
      );
    });
    queues.add(queue);
    return itemsUntil(queue, signal, () => queues.delete(queue));
  };
  return {
    follow({ sinceNs, rememberedOnly }, signal) {
      const remembered =
        sinceNs === undefined ? [] : history.slice(-HISTORY).filter(({ atNs }) => atNs >= sinceNs);
      // Subscribed before anything is read, so that nothing is missed between the two.
      return rememberedOnly ? all(remembered) : all(remembered, subscribe(signal));
    },
    note: ({ type, container, reason, message }, { namespace, name }) =>
      add({
        kind: container === "" ? "pod" : "container",
        type,
        namespace,
        pod: name,
        container,
        reason,
        message,
      }),
  };
}

async function* all<T>(first: readonly T[], rest?: AsyncIterable<T>): AsyncGenerator<T> {
  yield* first;
  if (rest !== undefined) yield* rest;
}

type Fields = Omit<MessageInitShape<typeof EventSchema>, "$typeName">;

function imageFields({ type, id, name, reason = "", message = "" }: ImageChange): Fields {
  return { type, id, image: name, reason, message };
}

function lifecycleFields(
  runtime: Parameters<typeof openEventLog>[0],
  names: Names,
  event: LifecycleEvent,
): Fields {
  const { type, containerId: id, sandboxId } = event;
  const sandbox = runtime.sandboxes.get(sandboxId) ?? event.removedSandbox;
  const pod = names.pod(sandboxId, type === "deleted" && id === sandboxId);
  if (id === sandboxId) {
    const message =
      type === "stopped" ? sandbox?.end?.reason : type === "started" ? sandbox?.addresses.join(", ") : "";
    return { kind: "pod", ...pod, id, attempt: sandbox?.attempt ?? 0, message: message ?? "" };
  }
  const { container, attempt, image } = names.container(id, type === "deleted");
  const fields = { kind: "container", ...pod, container, id, attempt, image };
  const record = runtime.containers.get(id);
  if (type !== "stopped" || record === undefined) return fields;
  const { exitCode, reason = "", message = "" } = record;
  return { ...fields, reason, message, ...(exitCode === undefined ? {} : { exitCode }) };
}

interface Names {
  pod(id: string, isLast: boolean): { readonly namespace: string; readonly pod: string };
  container(
    id: string,
    isLast: boolean,
  ): { readonly container: string; readonly attempt: number; readonly image: string };
}

/** What is told of something that was removed cannot be looked up any more: it is kept until its last event. */
function newNames({ sandboxes, containers }: Pick<Runtime, "sandboxes" | "containers">): Names {
  const pods = new Map<string, ReturnType<Names["pod"]>>();
  const found = new Map<string, ReturnType<Names["container"]>>();
  const notePod = (id: string) => {
    const record = sandboxes.get(id);
    if (record !== undefined) pods.set(id, { namespace: record.namespace, pod: record.name });
  };
  const noteContainer = (id: string) => {
    const record = containers.get(id);
    if (record === undefined) return;
    found.set(id, { container: record.name, attempt: record.attempt, image: record.imageName });
  };
  for (const { id } of sandboxes.list()) notePod(id);
  for (const { id, created } of containers.list()) if (created) noteContainer(id);
  return {
    pod(id, isLast) {
      if (!pods.has(id)) notePod(id);
      const names = pods.get(id) ?? { namespace: "", pod: "" };
      if (isLast) pods.delete(id);
      return names;
    },
    container(id, isLast) {
      if (!found.has(id)) noteContainer(id);
      const names = found.get(id) ?? { container: "", attempt: 0, image: "" };
      if (isLast) found.delete(id);
      return names;
    },
  };
}

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { clients, failure, id, newRuntime } from "../../test/fixtures/cri-clients.ts";
import type { Events } from "../container/events.ts";
import type { Runtime } from "../container/runtime.ts";
import { type ContainerEventResponse, ContainerEventType } from "../gen/runtime/v1/api_pb.ts";
import { eventsDropped } from "../telemetry/daemon-families.ts";
import { openEventFeed } from "./event-feed.ts";

/** A runtime whose events are counted by who listens. */
function watchedRuntime() {
  const { runtime } = newRuntime();
  let listeners = 0;
  const events: Events = {
    emit: runtime.events.emit,
    subscribe(listener) {
      listeners++;
      const unsubscribe = runtime.events.subscribe(listener);
      return () => {
        listeners--;
        unsubscribe();
      };
    },
  };
  return { runtime: { ...runtime, events } as Runtime, listeners: () => listeners };
}

async function take(stream: AsyncIterable<ContainerEventResponse>, count: number) {
  const found: ContainerEventResponse[] = [];
  for await (const event of stream) if (found.push(event) === count) break;
  return found;
}

async function codeOf(stream: AsyncIterable<unknown>): Promise<[Code, string]> {
  const { code, rawMessage } = await failure(
    (async () => {
      for await (const _ of stream);
    })(),
  );
  return [code, rawMessage];
}

const ignored = new AbortController().signal;

function droppedEvents(): number {
  return [...eventsDropped.samples()][0]?.value ?? 0;
}

test("an event comes with its sandbox and that one's containers, to all who have subscribed", async () => {
  const { runtime } = watchedRuntime();
  const feed = openEventFeed(runtime);
  const streams = [feed.subscribe(ignored), feed.subscribe(ignored)];
  const beforeNs = BigInt(Date.now()) * 1_000_000n;
  runtime.events.emit("started", id("ca"), id("aa"));
  runtime.events.emit("stopped", id("ab"), id("ab"));
  for (const stream of streams) {
    const [first, second] = await take(stream, 2);
    expect(first).toMatchObject({
      containerId: id("ca"),
      containerEventType: ContainerEventType.CONTAINER_STARTED_EVENT,
      podSandboxStatus: { id: id("aa"), metadata: { name: "pod-aa" } },
    });
    // `cd` is still being made.
    expect(first!.containersStatuses.map((status) => status.id.slice(0, 2)).sort()).toEqual(["ca", "cb"]);
    expect(first!.createdAt).toBeGreaterThanOrEqual(beforeNs);
    expect(second).toMatchObject({ containerId: id("ab"), podSandboxStatus: { id: id("ab") } });
    expect(second!.containersStatuses.map((status) => status.id)).toEqual([id("cc")]);
  }
});

test("a removed sandbox is shown as it was", async () => {
  const { runtime } = watchedRuntime();
  const record = runtime.sandboxes.get(id("ac"))!;
  const gone = { ...runtime, sandboxes: { get: () => undefined } } as unknown as Runtime;
  const stream = openEventFeed(gone).subscribe(ignored);
  runtime.events.emit("deleted", id("ac"), id("ac"), record);
  expect(await take(stream, 1)).toMatchObject([
    {
      containerEventType: ContainerEventType.CONTAINER_DELETED_EVENT,
      podSandboxStatus: { id: id("ac"), metadata: { name: "pod-ac", uid: "ac" } },
    },
  ]);
});

test("nothing that happened before the subscription is sent", async () => {
  const { runtime } = watchedRuntime();
  const feed = openEventFeed(runtime);
  runtime.events.emit("created", id("ca"), id("aa"));
  const stream = feed.subscribe(ignored);
  runtime.events.emit("started", id("ca"), id("aa"));
  expect(await take(stream, 1)).toMatchObject([
    { containerEventType: ContainerEventType.CONTAINER_STARTED_EVENT },
  ]);
});

test("what is kept for the first subscriber goes to that one alone, before what comes", async () => {
  const { runtime, listeners } = watchedRuntime();
  const feed = openEventFeed(runtime);
  const kept = feed.keepForFirst();
  runtime.events.emit("stopped", id("ca"), id("aa"));
  kept();
  expect(listeners()).toBe(0);
  runtime.events.emit("created", id("cb"), id("aa"));
  const [first, second] = [feed.subscribe(ignored), feed.subscribe(ignored)];
  runtime.events.emit("deleted", id("cb"), id("aa"));
  const typesOf = async (stream: typeof first, count: number) =>
    (await take(stream, count)).map(({ containerEventType }) => containerEventType);
  const { CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT } = ContainerEventType;
  expect(await typesOf(first, 2)).toEqual([CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT]);
  expect(await typesOf(second, 1)).toEqual([CONTAINER_DELETED_EVENT]);
  expect(listeners()).toBe(0);
});

test("a first subscriber for whom too much was kept is told that it is lost", async () => {
  const { runtime } = watchedRuntime();
  const feed = openEventFeed(runtime);
  const kept = feed.keepForFirst();
  for (let count = 0; count < 1001; count++) runtime.events.emit("stopped", id("ca"), id("aa"));
  kept();
  await expect(take(feed.subscribe(ignored), 1)).rejects.toMatchObject({ kind: "ResourceExhausted" });
});

test("who falls behind is told so and costs nothing more, the others go on", async () => {
  const before = droppedEvents();
  const { runtime, listeners } = watchedRuntime();
  const feed = openEventFeed(runtime);
  const slow = feed.subscribe(ignored);
  const quick = feed.subscribe(ignored);
  const reading = take(quick, 1500);
  for (let count = 0; count < 1500; count++) {
    runtime.events.emit("started", id("ca"), id("aa"));
    if (count % 100 === 0) await Bun.sleep(0);
  }
  expect(await reading).toHaveLength(1500);
  expect(listeners()).toBe(0);
  await expect(take(slow, 1)).rejects.toMatchObject({
    kind: "ResourceExhausted",
    message: expect.stringMatching(/^more than 1000 events were not read/),
  });
  expect(droppedEvents() - before).toBe(1001);
});

test("who leaves is forgotten, read from or not, and with the last one the feed stops listening", async () => {
  const { runtime, listeners } = watchedRuntime();
  const feed = openEventFeed(runtime);
  const [first, second] = [new AbortController(), new AbortController()];
  const reading = codeOf(feed.subscribe(first.signal));
  feed.subscribe(second.signal);
  expect(listeners()).toBe(1);
  first.abort(new ConnectError("podrt serve is shutting down", Code.Unavailable));
  expect(await reading).toEqual([Code.Unavailable, "podrt serve is shutting down"]);
  expect(listeners()).toBe(1);
  second.abort();
  expect(listeners()).toBe(0);
  expect((await codeOf(feed.subscribe(AbortSignal.abort(new Error("gone")))))[1]).toBe("gone");
  expect(listeners()).toBe(0);
});

test("an event that cannot be made ends the streams instead of missing in them", async () => {
  const { runtime } = watchedRuntime();
  const broken = {
    ...runtime,
    containers: {
      of: () => {
        throw new Error("no list");
      },
    },
  } as unknown as Runtime;
  const stream = openEventFeed(broken).subscribe(ignored);
  runtime.events.emit("started", id("ca"), id("aa"));
  expect((await codeOf(stream))[1]).toBe("no list");
});

test("there is a bound on subscribers, and a place that becomes free is free", async () => {
  const { runtime } = watchedRuntime();
  const { cri } = clients(runtime);
  const leaving = new AbortController();
  const stream = () => cri.getContainerEvents({}, { signal: leaving.signal })[Symbol.asyncIterator]().next();
  const waiting = Array.from({ length: 64 }, () => failure(Promise.resolve(stream())));
  await Bun.sleep(10);
  const refused = await failure(
    (async () => await cri.getContainerEvents({})[Symbol.asyncIterator]().next())(),
  );
  expect([refused.code, refused.rawMessage]).toEqual([
    Code.ResourceExhausted,
    expect.stringContaining("64 clients"),
  ]);
  leaving.abort();
  for (const { code } of await Promise.all(waiting)) expect(code).toBe(Code.Canceled);
  const again = cri.getContainerEvents({})[Symbol.asyncIterator]();
  const next = again.next();
  await Bun.sleep(10);
  runtime.events.emit("started", id("ca"), id("aa"));
  expect((await next).value?.containerId).toBe(id("ca"));
  await again.return?.();
});

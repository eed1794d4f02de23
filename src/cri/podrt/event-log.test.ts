// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { id, newRuntime } from "../../../test/fixtures/cri-clients.ts";
import type { Runtime } from "../../container/runtime.ts";
import type { Event } from "../../gen/podrt/v1/podrt_pb.ts";
import { newImageChanges } from "../../image/image-changes.ts";
import { openEventLog } from "./event-log.ts";

const never = new AbortController().signal;
const ALL = { sinceNs: 0n, rememberedOnly: true };
const POD = { namespace: "shop", name: "web" };

function openLog(change: (runtime: Runtime) => Partial<Runtime> = () => ({})) {
  const { runtime } = newRuntime();
  const changes = newImageChanges();
  const images = { ...runtime.images, onChange: changes.subscribe };
  const log = openEventLog({ ...runtime, images, ...change(runtime) });
  return { runtime, changes, log };
}

async function collect(events: AsyncIterable<Event>, count = Number.POSITIVE_INFINITY): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) if (found.push(event) === count) break;
  return found;
}

test("lifecycles have the names of what they befell, also when it is gone", async () => {
  let isGone = false;
  const { runtime, log } = openLog(({ containers }) => ({
    containers: { ...containers, get: (key) => (isGone ? undefined : containers.get(key)) },
  }));
  runtime.events.emit("started", id("ca"), id("aa"));
  isGone = true;
  runtime.events.emit("deleted", id("ca"), id("aa"));
  runtime.events.emit("started", id("aa"), id("aa"));
  const names = (await collect(log.follow(ALL, never))).map(({ kind, type, pod, container }) => [
    ...[kind, type, pod, container],
  ]);
  expect(names).toEqual([
    ["container", "started", "pod-aa", "app-ca"],
    ["container", "deleted", "pod-aa", "app-ca"],
    ["pod", "started", "pod-aa", ""],
  ]);
});

test("troubles of kept pods and changes of images are events, a long message cut", async () => {
  const { changes, log } = openLog();
  log.note({ type: "trouble", container: "app", reason: "ErrImagePull", message: "x".repeat(5000) }, POD);
  log.note({ type: "trouble", container: "", reason: "Evicted", message: "too much" }, POD);
  changes.announce({ type: "failed", id: "", name: "nginx", reason: "NotFound", message: "no such image" });
  const [first, second, third] = await collect(log.follow(ALL, never));
  expect(first).toMatchObject({ kind: "container", namespace: "shop", pod: "web", container: "app" });
  expect(first!.message).toHaveLength(1025);
  expect(second).toMatchObject({ kind: "pod", type: "trouble", reason: "Evicted", container: "" });
  expect(third).toMatchObject({ kind: "image", type: "failed", image: "nginx", reason: "NotFound" });
});

test("the last 2000 are remembered, and of those what is asked for", async () => {
  const { log } = openLog();
  const note = (message: string) => log.note({ type: "trouble", container: "", reason: "", message }, POD);
  for (let count = 1; count <= 4500; count++) note(String(count));
  const all = await collect(log.follow(ALL, never));
  expect([all.length, all[0]!.message, all.at(-1)!.message]).toEqual([2000, "2501", "4500"]);
  const since = { sinceNs: all[1990]!.atNs, rememberedOnly: true };
  expect((await collect(log.follow(since, never))).map(({ message }) => message)).toEqual(
    Array.from({ length: 10 }, (_, index) => String(4491 + index)),
  );
  const none = log.follow({ rememberedOnly: false }, never);
  note("next");
  expect((await collect(none, 1)).map(({ message }) => message)).toEqual(["next"]);
});

test("nothing is missed between what is remembered and what comes, and who leaves ends it", async () => {
  const { log } = openLog();
  const note = (message: string) => log.note({ type: "ready", container: "", reason: "", message }, POD);
  note("one");
  const leaving = new AbortController();
  const following = log.follow({ sinceNs: 0n, rememberedOnly: false }, leaving.signal);
  note("two");
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { message } of following) {
      seen.push(message);
      if (message === "two") note("three");
      if (message === "three") leaving.abort(new Error("gone"));
    }
  })();
  await expect(reading).rejects.toThrow("gone");
  expect(seen).toEqual(["one", "two", "three"]);
});

test("who does not read in time is told so, and there is a bound on who follows", async () => {
  const { log } = openLog();
  const slow = log.follow({ rememberedOnly: false }, never);
  for (let count = 0; count <= 1000; count++) {
    log.note({ type: "ready", container: "", reason: "", message: "" }, POD);
  }
  await expect(collect(slow)).rejects.toMatchObject({ kind: "ResourceExhausted" });
  for (let count = 0; count < 64; count++) log.follow({ rememberedOnly: false }, never);
  expect(() => log.follow({ rememberedOnly: false }, never)).toThrow("followed by 64 clients");
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { EchoJob, EchoReply } from "../../test/fixtures/echo-worker.ts";
import { PodrtError } from "../errors.ts";
import { startWorkerPool, type WorkerPool } from "./worker-pool.ts";

let pool: WorkerPool<EchoJob, EchoReply>;

function start(workers: number, idleMs: number): void {
  pool = startWorkerPool({ entry: "../test/fixtures/echo-worker.ts", workers, idleMs });
}

beforeEach(() => start(2, 60_000));
afterEach(() => pool.close());

const echo = (text: string, afterMs = 0, signal?: AbortSignal) =>
  pool.run({ kind: "echo", text, afterMs }, signal);

function failure(work: Promise<unknown>): Promise<{ kind: string; message: string }> {
  return work.then(
    () => ({ kind: "none", message: "" }),
    (error: PodrtError) => ({ kind: error.kind, message: error.message }),
  );
}

test("jobs run side by side on as many threads as allowed, and all are answered", async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `job ${i}`);
  const replies = await Promise.all(texts.map((text) => echo(text, 2)));
  expect(replies.map(({ text }) => text)).toEqual(texts);
  expect(new Set(replies.map(({ thread }) => thread)).size).toBe(2);
});

test("a thread is kept for the next job, and ended when none comes", async () => {
  await pool.close();
  start(1, 30);
  const first = await echo("a");
  expect((await echo("b")).thread).toBe(first.thread);
  await Bun.sleep(200);
  expect((await echo("c")).thread).not.toBe(first.thread);
});

test("an error keeps its kind and sentence, and the thread lives on", async () => {
  expect(await failure(pool.run({ kind: "refuse" }))).toEqual({
    kind: "InvalidArgument",
    message: "field: is refused",
  });
  expect((await echo("after")).text).toBe("after");
});

test("an abort reaches the running job, and one that waits never starts", async () => {
  await pool.close();
  start(1, 60_000);
  const abort = new AbortController();
  const running = failure(echo("long", 60_000, abort.signal));
  const waiting = failure(echo("waiting", 0, abort.signal));
  await Bun.sleep(50);
  abort.abort();
  expect(await running).toEqual({ kind: "Canceled", message: "the caller gave up" });
  expect(await waiting).toEqual({ kind: "Canceled", message: "the caller gave up" });
  expect((await echo("after")).text).toBe("after");
});

test("a thread that breaks fails its job alone", async () => {
  const broken = await failure(pool.run({ kind: "break" }));
  expect(broken.kind).toBe("Internal");
  expect(broken.message).toContain("the thread broke");
  expect((await echo("after")).text).toBe("after");
});

test("an entry that does not exist fails the job", async () => {
  const nowhere = startWorkerPool<EchoJob, EchoReply>({ entry: "no/such-worker.ts", workers: 1, idleMs: 10 });
  expect((await failure(nowhere.run({ kind: "refuse" }))).kind).toBe("Internal");
  await nowhere.close();
});

test("closing waits for what runs, and refuses what comes or waits", async () => {
  await pool.close();
  start(1, 60_000);
  const running = echo("running", 30);
  const waiting = failure(echo("waiting"));
  const closed = pool.close();
  expect((await waiting).kind).toBe("Canceled");
  expect((await running).text).toBe("running");
  await closed;
  expect((await failure(echo("late"))).message).toBe("podrt is shutting down");
});

test("errors of the pool are podrt's own", async () => {
  await pool.close();
  await expect(echo("late")).rejects.toBeInstanceOf(PodrtError);
});

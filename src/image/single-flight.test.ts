// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { SingleFlight } from "./single-flight.ts";

/** Work that runs until `finish` or its abort, and then cleans up for a moment. */
function work() {
  const gate = Promise.withResolvers<string>();
  const state = { starts: 0, cleanups: 0, report: (_: number) => {} };
  const run = async ({ signal, report }: { signal: AbortSignal; report: (n: number) => void }) => {
    state.starts++;
    state.report = report;
    try {
      const aborted = new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      return await Promise.race([gate.promise, aborted]);
    } finally {
      await Bun.sleep(10);
      state.cleanups++;
    }
  };
  return { state, run, finish: gate.resolve, fail: gate.reject };
}

test("callers of one key share one run, and the next call starts another", async () => {
  const flights = new SingleFlight<string, number>();
  const first = work();
  const results = [flights.run("a", first.run), flights.run("a", first.run), flights.run("b", first.run)];
  first.finish("done");
  expect(await Promise.all(results)).toEqual(["done", "done", "done"]);
  expect(first.state.starts).toBe(2);
  expect(await flights.run("a", first.run)).toBe("done");
  expect(first.state.starts).toBe(3);
});

test("one who gives up leaves at once and the others go on", async () => {
  const flights = new SingleFlight<string, number>();
  const shared = work();
  const impatient = new AbortController();
  const leaver = flights.run("a", shared.run, { signal: impatient.signal });
  const stayer = flights.run("a", shared.run);
  impatient.abort(new Error("bye"));
  await expect(leaver).rejects.toThrow("bye");
  expect(shared.state.cleanups).toBe(0);
  shared.finish("done");
  expect(await stayer).toBe("done");
});

test("the last to give up ends the work and waits for its cleaning up", async () => {
  const flights = new SingleFlight<string, number>();
  const shared = work();
  const controllers = [new AbortController(), new AbortController()];
  const leavers = controllers.map(({ signal }) => flights.run("a", shared.run, { signal }));
  const ends = leavers.map((leaver) =>
    leaver.catch((error: Error) => [error.message, shared.state.cleanups]),
  );
  await Bun.sleep(1);
  controllers[0]?.abort(new Error("first"));
  controllers[1]?.abort(new Error("second"));
  expect(await Promise.all(ends)).toEqual([
    ["first", 0],
    ["second", 1],
  ]);
});

test("one who comes while an abandoned run ends starts a new one", async () => {
  const flights = new SingleFlight<string, number>();
  const abandoned = work();
  const controller = new AbortController();
  const leaver = flights.run("a", abandoned.run, { signal: controller.signal });
  await Bun.sleep(1);
  controller.abort(new Error("bye"));
  const fresh = work();
  fresh.finish("fresh");
  expect(await flights.run("a", fresh.run)).toBe("fresh");
  await expect(leaver).rejects.toThrow("bye");
});

test("a failure reaches everyone, and progress too", async () => {
  const flights = new SingleFlight<string, number>();
  const shared = work();
  const seen: number[] = [];
  const onProgress = (n: number) => seen.push(n);
  const runs = [flights.run("a", shared.run, { onProgress }), flights.run("a", shared.run, { onProgress })];
  await Bun.sleep(1);
  shared.state.report(7);
  shared.fail(new Error("broken"));
  expect((await Promise.allSettled(runs)).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(seen).toEqual([7, 7]);
});

test("a caller who has already given up starts nothing", async () => {
  const shared = work();
  const signal = AbortSignal.abort(new Error("gone"));
  await expect(new SingleFlight<string, number>().run("a", shared.run, { signal })).rejects.toThrow("gone");
  expect(shared.state.starts).toBe(0);
});

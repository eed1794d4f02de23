// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { NotFoundError } from "../errors.ts";
import type { DiskUsage } from "../snapshot/snapshotter.ts";
import { Patience, WritableLayers } from "./writable-layers.ts";

/** A snapshotter whose measurements end when the test says so. */
function slowSnapshotter() {
  const pending: PromiseWithResolvers<DiskUsage>[] = [];
  const warnings: string[] = [];
  return {
    pending,
    warnings,
    snapshotUsage() {
      const measurement = Promise.withResolvers<DiskUsage>();
      pending.push(measurement);
      return measurement.promise;
    },
    log: { warn: (_fields: object, text: string) => warnings.push(text) },
    finish(usedBytes: number) {
      pending.at(-1)?.resolve({ usedBytes, inodesUsed: 1 });
      return Bun.sleep(0);
    },
  };
}

function layersOf(fake: ReturnType<typeof slowSnapshotter>, options = { refreshMs: 0, staleMs: 60_000 }) {
  return new WritableLayers(fake, fake.log as never, options);
}

test("a layer that is measured at once is known at once, with the time", async () => {
  const layers = new WritableLayers({ snapshotUsage: async () => ({ usedBytes: 5, inodesUsed: 2 }) }, {
    warn: () => {},
  } as never);
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  const usage = await layers.usage("c1", new Patience());
  expect(usage).toMatchObject({ usedBytes: 5, inodesUsed: 2 });
  expect(usage?.atNs).toBeGreaterThan(before);
});

test("nobody waits longer than his patience, for however many layers", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake);
  const patience = new Patience();
  const startedMs = performance.now();
  for (const key of ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"]) {
    expect(await layers.usage(key, patience)).toBeUndefined();
  }
  expect(performance.now() - startedMs).toBeGreaterThan(100);
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(fake.pending).toHaveLength(8);
});

test("what is known is answered while it is measured again, which callers share", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake);
  const first = layers.usage("c1", new Patience());
  await fake.finish(10);
  expect((await first)?.usedBytes).toBe(10);
  while (fake.pending.length < 2) {
    await Bun.sleep(5);
    expect((await layers.usage("c1", new Patience()))?.usedBytes).toBe(10);
  }
  expect((await layers.usage("c1", new Patience()))?.usedBytes).toBe(10);
  expect(fake.pending).toHaveLength(2);
  await fake.finish(20);
  expect((await layers.usage("c1", new Patience()))?.usedBytes).toBe(20);
});

test("what took long is measured less often", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake);
  const first = layers.usage("c1", new Patience());
  await Bun.sleep(100);
  await fake.finish(10);
  await first;
  await Bun.sleep(100);
  await layers.usage("c1", new Patience());
  expect(fake.pending).toHaveLength(1);
});

test("a usage that nobody asked for lately is waited for", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake, { refreshMs: 0, staleMs: 0 });
  const first = layers.usage("c1", new Patience());
  await fake.finish(10);
  await first;
  await Bun.sleep(500);
  const second = layers.usage("c1", new Patience());
  await fake.finish(20);
  expect((await second)?.usedBytes).toBe(20);
});

test("a failure is logged, leaves what was known, and is not repeated at once", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake, { refreshMs: 500, staleMs: 500 });
  const first = layers.usage("c1", new Patience());
  await fake.finish(10);
  await first;
  await Bun.sleep(600);
  const second = layers.usage("c1", new Patience());
  await Bun.sleep(0);
  fake.pending.at(-1)?.reject(new Error("EIO"));
  expect((await second)?.usedBytes).toBe(10);
  expect(fake.warnings).toHaveLength(1);
  await layers.usage("c1", new Patience());
  expect(fake.pending).toHaveLength(2);
});

test("a layer that is gone is unknown and quiet, and what is forgotten stays so", async () => {
  const fake = slowSnapshotter();
  const layers = layersOf(fake);
  const gone = layers.usage("c1", new Patience());
  fake.pending.at(-1)?.reject(new NotFoundError("no c1"));
  expect(await gone).toBeUndefined();
  expect(fake.warnings).toEqual([]);
  const late = layers.usage("c1", new Patience());
  layers.forget("c1");
  await fake.finish(10);
  expect(await late).toBeUndefined();
  expect([...layers.keys()]).toEqual([]);
});

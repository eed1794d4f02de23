// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { announceLayers, awaitLayers } from "./awaited-layers.ts";
import { unpackInOrder } from "./unpack-ahead.ts";

test("layers are started from the bottom up, a few at a time, and waited for", async () => {
  const started: number[] = [];
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const done = unpackInOrder(
    5,
    async () => {},
    (position) => {
      started.push(position);
      return ends[position]!.promise;
    },
  );
  await Bun.sleep(1);
  expect(started).toEqual([0, 1, 2]);
  ends[1]!.resolve();
  await Bun.sleep(1);
  expect(started).toEqual([0, 1, 2]);
  ends[0]!.resolve();
  await Bun.sleep(1);
  expect(started).toEqual([0, 1, 2, 3, 4]);
  for (const { resolve } of ends) resolve();
  await done;
});

test("after a failure nothing is started, and it is thrown once nothing is under way", async () => {
  const started: number[] = [];
  const slow = Promise.withResolvers<void>();
  let settled = false;
  const done = unpackInOrder(
    6,
    async () => {},
    (position) => {
      started.push(position);
      return position === 0 ? Promise.reject(new Error("damaged")) : slow.promise;
    },
  ).finally(() => {
    settled = true;
  });
  done.catch(() => {});
  await Bun.sleep(5);
  expect(started).toEqual([0, 1, 2]);
  expect(settled).toBe(false);
  slow.resolve();
  await expect(done).rejects.toThrow("damaged");
});

test("what is announced once counts, and a list that is too long is none", () => {
  const there = announceLayers();
  there.ready(["/layers/2", "/layers/1"]);
  there.fail();
  expect(awaitLayers(there.shared)).toEqual(["/layers/2", "/layers/1"]);
  const gone = announceLayers();
  gone.fail();
  expect(() => awaitLayers(gone.shared)).toThrow("a layer below it was not unpacked");
  const long = announceLayers();
  long.ready(["x".repeat(1 << 20)]);
  expect(() => awaitLayers(long.shared)).toThrow("a layer below it was not unpacked");
});

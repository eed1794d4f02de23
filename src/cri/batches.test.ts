// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { type ContainerStats, ContainerStatsSchema } from "../gen/runtime/v1/api_pb.ts";
import { collectBatches } from "./batches.ts";

/** Items with an annotation of so many bytes. */
async function* items(sizes: readonly number[]): AsyncGenerator<ContainerStats> {
  for (const [index, size] of sizes.entries()) {
    const annotations = { a: "x".repeat(size) };
    yield create(ContainerStatsSchema, { attributes: { id: `${index}`, annotations } });
  }
}

async function batches(sizes: readonly number[]): Promise<ContainerStats[][]> {
  return Array.fromAsync(collectBatches(ContainerStatsSchema, items(sizes)));
}

test("every item is in one batch, in order, and nothing makes no batch", async () => {
  expect(await batches([])).toEqual([]);
  const found = await batches(Array.from({ length: 70 }, () => 1));
  expect(found.map((batch) => batch.length)).toEqual([32, 32, 6]);
  expect(found.flat().map(({ attributes }) => attributes?.id)).toEqual(
    Array.from({ length: 70 }, (_, index) => `${index}`),
  );
});

test("large items make smaller batches, which fit into a message", async () => {
  const mebibyte = 1024 * 1024;
  const found = await batches([3 * mebibyte, mebibyte / 2, mebibyte, 9 * mebibyte, 1, 1]);
  expect(found.map((batch) => batch.length)).toEqual([2, 1, 1, 2]);
  for (const batch of found) {
    const bytes = batch.reduce((sum, item) => sum + toBinary(ContainerStatsSchema, item).length, 0);
    expect(bytes).toBeLessThan(16 * mebibyte);
  }
});

test("a batch is given as soon as it is full", async () => {
  let taken = 0;
  async function* counted() {
    for await (const item of items(Array.from({ length: 100 }, () => 1))) {
      taken++;
      yield item;
    }
  }
  await collectBatches(ContainerStatsSchema, counted()).next();
  expect(taken).toBe(33);
});

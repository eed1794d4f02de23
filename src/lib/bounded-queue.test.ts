// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { newBoundedQueue } from "./bounded-queue.ts";

const overflow = () => new Error("too many");

async function rest<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test("what is pushed before and while somebody reads arrives in order, and then the end", async () => {
  const queue = newBoundedQueue<number>(10, overflow);
  queue.push(1);
  queue.push(2);
  const reading = rest(queue.items);
  await Bun.sleep(1);
  queue.push(3);
  await Bun.sleep(1);
  for (const item of [4, 5]) queue.push(item);
  queue.end();
  queue.push(6);
  expect(await reading).toEqual([1, 2, 3, 4, 5]);
});

test("one item too many drops what is queued and fails the reader", async () => {
  const queue = newBoundedQueue<number>(3, overflow);
  for (const item of [1, 2, 3]) queue.push(item);
  expect((await queue.items.next()).value).toBe(1);
  for (const item of [4, 5, 6]) queue.push(item);
  queue.push(7);
  queue.push(8);
  await expect(rest(queue.items)).rejects.toThrow("too many");
});

test("as many as the bound may wait", async () => {
  const queue = newBoundedQueue<number>(3, overflow);
  for (const item of [1, 2, 3]) queue.push(item);
  queue.end();
  expect(await rest(queue.items)).toEqual([1, 2, 3]);
});

test("the first failure counts, also for a reader that waits", async () => {
  const queue = newBoundedQueue<number>(3, overflow);
  const reading = rest(queue.items);
  await Bun.sleep(1);
  queue.fail(new Error("gone"));
  queue.fail(new Error("late"));
  queue.end();
  await expect(reading).rejects.toThrow("gone");
});

test("a reader that leaves ends the queue", async () => {
  const queue = newBoundedQueue<number>(1, () => expect.unreachable());
  queue.push(1);
  for await (const item of queue.items) {
    expect(item).toBe(1);
    break;
  }
  for (const item of [2, 3]) queue.push(item);
  expect(await rest(queue.items)).toEqual([]);
});

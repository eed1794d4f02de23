// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ChunkQueue } from "./chunk-queue.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

async function textOf(queue: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(queue)).toString();
}

test("chunks come in order, whether the reader or the source is first, until the end", async () => {
  const queue = new ChunkQueue();
  queue.push(bytes("a"));
  const read = textOf(queue);
  await Bun.sleep(0);
  queue.push(bytes("b"));
  queue.push(bytes(""));
  queue.push(bytes("c"));
  queue.end();
  queue.push(bytes("too late"));
  expect(await read).toBe("abc");
});

test("a failure comes behind what was queued", async () => {
  const queue = new ChunkQueue();
  queue.push(bytes("a"));
  queue.end(new Error("cut off"));
  const seen: string[] = [];
  const read = async () => {
    for await (const chunk of queue) seen.push(Buffer.from(chunk).toString());
  };
  expect(read()).rejects.toThrow("cut off");
  await read().catch(() => {});
  expect(seen).toEqual(["a"]);
});

test("it tells how much waits, and when some of it was taken", async () => {
  const waiting: number[] = [];
  const queue: ChunkQueue = new ChunkQueue(() => waiting.push(queue.bytes));
  queue.push(bytes("abc"));
  queue.push(bytes("de"));
  expect(queue.bytes).toBe(5);
  const iterator = queue[Symbol.asyncIterator]();
  await iterator.next();
  await iterator.next();
  expect(waiting).toEqual([2, 0]);
});

test("nothing is kept for a reader that has left", async () => {
  const queue = new ChunkQueue();
  queue.push(bytes("abc"));
  queue.push(bytes("def"));
  for await (const _ of queue) break;
  expect(queue.bytes).toBe(0);
  queue.push(bytes("more"));
  expect(queue.bytes).toBe(0);
});

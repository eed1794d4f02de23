// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { F_GETFL, O_ASYNC } from "../linux/abi/fcntl.ts";
import { type Fd, pipe, writeAll } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { PipeReader } from "./pipe-reader.ts";

const F_GETPIPE_SZ = 1032;

let read: Fd;
let write: Fd;
let reader: PipeReader;

beforeEach(() => {
  ({ read, write } = pipe());
  reader = new PipeReader(read);
});

afterEach(() => {
  reader.stop();
  read.close();
  write.close();
});

const put = (bytes: number) => writeAll(write.number, new Uint8Array(bytes).fill(7));
const isArmed = () => (syscall("fcntl", read.number, F_GETFL, 0) & O_ASYNC) !== 0;

/** Reads until `bytes` have come, and answers the sizes of the pieces. */
async function take(bytes: number): Promise<number[]> {
  const sizes: number[] = [];
  for (let left = bytes; left > 0; left -= sizes.at(-1)!) sizes.push((await reader.next())!.length);
  return sizes;
}

test("what comes a little at a time after much is taken together", async () => {
  put(60_000);
  await take(60_000);
  const next = reader.next();
  for (let page = 0; page < 8; page += 1) put(4096);
  expect((await next)?.length).toBe(8 * 4096);
});

test("a little is taken at once, and what follows it waited for by a signal", async () => {
  put(100);
  expect((await reader.next())?.length).toBe(100);
  const next = reader.next();
  expect(isArmed()).toBe(true);
  put(5);
  expect((await next)?.length).toBe(5);
  expect(isArmed()).toBe(false);
});

test("a pipe that was full is given more room", async () => {
  put(64 * 1024);
  await take(64 * 1024);
  expect(syscall("fcntl", read.number, F_GETPIPE_SZ, 0)).toBe(64 * 1024);
  put(64 * 1024);
  expect(await take(64 * 1024)).toEqual([64 * 1024]);
  expect(syscall("fcntl", read.number, F_GETPIPE_SZ, 0)).toBe(1024 * 1024);
});

test("the writer's end ends it, also when that is waited for, and so does stop", async () => {
  const next = reader.next();
  write.close();
  expect(await next).toBeUndefined();
  const other = pipe();
  const stopped = new PipeReader(other.read);
  const waiting = stopped.next();
  stopped.stop();
  expect(await waiting).toBeUndefined();
  expect(await stopped.next()).toBeUndefined();
  other.read.close();
  other.write.close();
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { pipe } from "./fd.ts";
import { isReady, POLLIN, POLLOUT } from "./poll.ts";
import { syscall } from "./syscall.ts";

test("a descriptor is ready for what it has, and once the other end is closed", () => {
  const { read, write } = pipe(0);
  expect(isReady(read.number, POLLIN)).toBe(false);
  expect(isReady(write.number, POLLOUT)).toBe(true);
  syscall("write", write.number, new Uint8Array(1), 1);
  expect(isReady(read.number, POLLIN)).toBe(true);
  syscall("read", read.number, new Uint8Array(1), 1);
  expect(isReady(read.number, POLLIN)).toBe(false);
  write.close();
  expect(isReady(read.number, POLLIN)).toBe(true);
  read.close();
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Epoll } from "./epoll.ts";
import { pipe } from "./fd.ts";
import { syscall } from "./syscall.ts";

test("each descriptor that is ready is told of by its own number, in one look", () => {
  const epoll = new Epoll();
  const pipes = [0, 1, 2].map(() => pipe(0));
  const tokens = [1, 0x1_0000_0002, 3];
  for (const [index, { read }] of pipes.entries()) epoll.add(read.number, tokens[index]!);
  const ready = () => epoll.ready().tokens.toSorted((a, b) => a - b);
  expect(ready()).toEqual([]);
  syscall("write", pipes[0]!.write.number, new Uint8Array(1), 1);
  pipes[1]!.write.close();
  expect(ready()).toEqual([1, 0x1_0000_0002]);
  epoll.delete(pipes[1]!.read.number);
  expect(ready()).toEqual([1]);
  for (const [index, { read, write }] of pipes.entries()) {
    read.close();
    if (index !== 1) write.close();
  }
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { O_NONBLOCK } from "../linux/abi/fcntl.ts";
import { pipe } from "../linux/fd.ts";
import { watchOutput } from "./output-poller.ts";

const sources = 12;
const lookMs = 5;

test("many busy sources leave the event loop its turns, and each comes to its own", async () => {
  using stack = new DisposableStack();
  const looks = new Array<number>(sources).fill(0);
  let looksInTurn = 0;
  let most = 0;
  const look = (index: number) => {
    looks[index]! += 1;
    looksInTurn += 1;
    const endMs = performance.now() + lookMs;
    while (performance.now() < endMs);
    return "data" as const;
  };
  for (let index = 0; index < sources; index += 1) {
    const { read, write } = pipe(O_NONBLOCK);
    for (const fd of [read, write]) stack.use(fd);
    const watch = watchOutput(read.number, () => look(index));
    stack.defer(() => watch.stop());
  }
  while (looks.includes(0)) {
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, looksInTurn);
    looksInTurn = 0;
  }
  expect(most).toBeLessThanOrEqual(4);
});

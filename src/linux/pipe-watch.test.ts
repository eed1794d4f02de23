// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { type Fd, pipe } from "./fd.ts";
import { emptyPipe } from "./pipe.ts";
import { PipeWatch } from "./pipe-watch.ts";
import { syscall } from "./syscall.ts";

interface Heard {
  readonly pipe: { read: Fd; write: Fd };
  readonly watch: Disposable;
  looks: number;
  isOver: boolean;
}

function hear(): Heard {
  const ends = pipe();
  const heard: Heard = {
    pipe: ends,
    looks: 0,
    isOver: false,
    watch: new PipeWatch(ends.read, () => {
      heard.looks++;
      heard.isOver = emptyPipe(ends.read.number);
      if (heard.isOver) heard.watch[Symbol.dispose]();
    }),
  };
  return heard;
}

const ring = ({ pipe }: Heard) => syscall("write", pipe.write.number, new Uint8Array(1), 1);

async function until(condition: () => boolean): Promise<void> {
  for (let waitedMs = 0; !condition(); waitedMs += 5) {
    expect(waitedMs).toBeLessThan(60_000);
    await Bun.sleep(5);
  }
}

test("of many pipes those are looked at that have something, also what came before and more than one look tells", async () => {
  const early = hear();
  ring(early);
  const many = Array.from({ length: 300 }, hear);
  await until(() => early.looks > 0);
  expect(many.every(({ looks }) => looks === 0)).toBe(true);
  ring(many[7]!);
  await until(() => many[7]!.looks > 0);
  expect(many.filter(({ looks }) => looks > 0)).toHaveLength(1);
  for (const each of many) ring(each);
  await until(() => many.every(({ looks }) => looks > 0));
  for (const { watch, pipe: ends } of [early, ...many]) {
    watch[Symbol.dispose]();
    ends.read.close();
    ends.write.close();
  }
});

test("the end of a pipe is heard once, and nothing after the watch is over", async () => {
  const ended = hear();
  const left = hear();
  ended.pipe.write.close();
  await until(() => ended.isOver);
  const { looks } = ended;
  left.watch[Symbol.dispose]();
  ring(left);
  const other = hear();
  ring(other);
  await until(() => other.looks > 0);
  expect(left.looks).toBe(0);
  expect(ended.looks).toBe(looks);
  other.watch[Symbol.dispose]();
  for (const { pipe: ends } of [ended, left, other]) {
    ends.read.close();
    ends.write.close();
  }
});

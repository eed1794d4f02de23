// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ERRNO } from "../linux/abi/errno.ts";
import { O_NONBLOCK } from "../linux/abi/fcntl.ts";
import { pipe, setNonBlocking, writeAll } from "../linux/fd.ts";
import { bytesIn, newStage } from "../linux/pipe.ts";
import { replaceKernel, syscall, trySyscall } from "../linux/syscall.ts";
import { ContainerLog } from "./log.ts";

let directory = "";
let path = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-output-"));
  path = join(directory, "0.log");
});

afterEach(() => rmSync(directory, { recursive: true }));

/** Tag and content of each record. */
const written = () =>
  [...readFileSync(path, "latin1").matchAll(/^\S+ std(?:out|err) ([FP]) (.*)\n/gm)].map(
    ([, tag, content]) => [tag, content],
  );

test("an output whose end cannot be written at once is written a moment later, and then it has ended", async () => {
  const log = new ContainerLog(path);
  const { read, write } = pipe();
  setNonBlocking(read.number, true);
  const { promise: isHeard, resolve: hear } = Promise.withResolvers<void>();
  log.subscribe(() => hear());
  const source = log.attach("stdout", read.number);
  writeAll(write.number, Buffer.from("whole\nthe rest"));
  await isHeard;
  let failures = 0;
  const restore = replaceKernel((real) => ({
    call: (call, args) => (call === "tee" && failures++ === 0 ? -ERRNO.ENOMEM : real.call(call, args)),
  }));
  try {
    write.close();
    await source.done;
    expect(failures).toBeGreaterThan(1);
    expect(readFileSync(path, "utf8")).toMatch(/ stdout F whole\n.* stdout P the rest\n$/);
  } finally {
    restore();
    await log.close();
    read.close();
  }
});

test("a line that a full buffer has cut waits for its end longer than a prompt does", async () => {
  const log = new ContainerLog(path);
  const [busy, other] = [pipe(O_NONBLOCK), pipe(O_NONBLOCK)];
  const { done } = log.attach("stdout", busy.read.number);
  log.attach("stderr", other.read.number);
  const [whole, begun] = ["w".repeat(4000), "b".repeat(95)];
  writeAll(busy.write.number, Buffer.from(`${whole}\n${begun}`));
  writeAll(other.write.number, Buffer.from("password: "));
  while (written().length < 2) await Bun.sleep(5);
  writeAll(busy.write.number, Buffer.from("-end\n"));
  busy.write.close();
  await done;
  await log.close();
  for (const fd of [busy.read, other.read, other.write]) fd.close();
  expect(written()).toEqual([
    ["F", whole],
    ["P", "password: "],
    ["F", `${begun}-end`],
  ]);
});

test("the pipe of a container that fills it is given more room, and its lines stay whole", async () => {
  const log = new ContainerLog(path);
  const { read, write } = pipe(O_NONBLOCK);
  const F_GETPIPE_SZ = 1032;
  const lines = Array.from({ length: 6000 }, (_, index) => `${index} ${"x".repeat(index % 97)}`);
  const bytes = Buffer.from(`${lines.join("\n")}\n`);
  // Full before it is looked at.
  let sent = syscall("write", write.number, bytes, bytes.length);
  const { done } = log.attach("stdout", read.number);
  while (sent < bytes.length) {
    const rest = bytes.subarray(sent);
    sent += Math.max(0, trySyscall("write", write.number, rest, rest.length));
    await Bun.sleep(0);
  }
  expect(syscall("fcntl", read.number, F_GETPIPE_SZ, 0)).toBe(256 * 1024);
  write.close();
  await done;
  await log.close();
  read.close();
  expect(written()).toEqual(lines.map((line) => ["F", line]));
});

test("a line whose end comes between two looks at its pipe is not split", async () => {
  const log = new ContainerLog(path);
  const { read, write } = pipe(O_NONBLOCK);
  let looks = 0;
  const restore = replaceKernel((real) => ({
    call(name, args) {
      const result = real.call(name, args);
      // The container goes on just when its pipe has been found empty.
      if (name === "splice" && args[0] === read.number && result === -ERRNO.EAGAIN && looks++ === 0)
        writeAll(write.number, Buffer.from(" its end\n"));
      return result;
    },
  }));
  try {
    writeAll(write.number, Buffer.from("a line and"));
    const { done } = log.attach("stdout", read.number);
    while (looks === 0 || bytesIn(read.number) > 0) await Bun.sleep(5);
    write.close();
    await done;
  } finally {
    restore();
    await log.close();
    read.close();
  }
  expect(written()).toEqual([["F", "a line and its end"]]);
});

test("what a marker says of the stage is all that is in it, also where less is written at a time", async () => {
  const markerPath = join(directory, "marker");
  const stage = newStage();
  const lines = Array.from({ length: 1000 }, (_, index) => `${index} ${"x".repeat(100)}`);
  writeAll(stage.write.number, Buffer.from(`${lines.join("\n")}\n`));
  const staged: number[] = [];
  const said: number[] = [];
  let failures = 0;
  const restore = replaceKernel((real) => ({
    call(name, args) {
      // After a failure less is tried at a time.
      if (name === "tee" && failures++ === 0) return -ERRNO.ENOMEM;
      if (name === "splice" && args[0] === stage.read.number) {
        staged.push(bytesIn(stage.read.number));
        said.push(Number(new BigUint64Array(readFileSync(markerPath).buffer)[4]));
      }
      return real.call(name, args);
    },
  }));
  const { read, write } = pipe(O_NONBLOCK);
  const log = new ContainerLog(path, { markerPath });
  try {
    const { done } = log.attach("stdout", read.number, stage.read.number);
    while (staged.length < 2) await Bun.sleep(5);
    write.close();
    await done;
  } finally {
    restore();
    await log.close();
  }
  expect(said).toEqual(staged);
  expect(written()).toEqual(lines.map((line) => ["F", line]));
  for (const fd of [read, stage.read, stage.write]) fd.close();
});

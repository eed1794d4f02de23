// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ownFiles } from "../../test/support/own-files.ts";
import { type Fd, pipe, setNonBlocking, writeAll } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { type OutputReader, readOutputs } from "./output.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

const pipes = () => [...ownFiles().values()].filter((file) => file.startsWith("pipe:"));

/** Waits until no pipe is open that was not open then, but a few seconds at most: what is left is answered. */
async function pipesLeft(before: readonly string[]): Promise<string[]> {
  for (let wait = 0; ; wait++) {
    const left = pipes().filter((file) => !before.includes(file));
    if (left.length === 0 || wait === 200) return left;
    await Bun.sleep(10);
  }
}

function outputs(): { stdout: Fd; stderr: Fd; reader: OutputReader } {
  const [out, err] = [pipe(), pipe()];
  for (const { read } of [out, err]) setNonBlocking(read.number, true);
  const reader = readOutputs([
    { stream: "stdout", fd: out.read },
    { stream: "stderr", fd: err.read },
  ]);
  return { stdout: out.write, stderr: err.write, reader };
}

async function collect(reader: OutputReader, pauseMs = 0): Promise<{ stdout: string; stderr: string }> {
  const text = { stdout: "", stderr: "" };
  for await (const { stream, data } of reader.chunks) {
    text[stream] += Buffer.from(data).toString();
    if (pauseMs > 0) await Bun.sleep(pauseMs);
  }
  return text;
}

test("both streams are read to their end, and closed", async () => {
  const before = pipes();
  const { stdout, stderr, reader } = outputs();
  writeAll(stdout.number, bytes("out"));
  writeAll(stderr.number, bytes("err"));
  stdout.close();
  stderr.close();
  expect(await collect(reader)).toEqual({ stdout: "out", stderr: "err" });
  expect(await pipesLeft(before)).toEqual([]);
});

test("a pipe that a child keeps open is waited for a second, but not its content", async () => {
  const { stdout, stderr, reader } = outputs();
  writeAll(stdout.number, bytes("x".repeat(60_000)));
  reader.finish();
  const startMs = performance.now();
  const { stdout: text } = await collect(reader, 20);
  expect(text.length).toBe(60_000);
  expect(performance.now() - startMs).toBeGreaterThan(900);
  stdout.close();
  stderr.close();
});

test("a reader that takes longer than that loses nothing of an ended process", async () => {
  const { stdout, stderr, reader } = outputs();
  writeAll(stdout.number, bytes("x".repeat(60_000)));
  stdout.close();
  stderr.close();
  reader.finish();
  await Bun.sleep(1300);
  expect((await collect(reader, 100)).stdout.length).toBe(60_000);
});

test("a reader that takes nothing holds the writer back", async () => {
  const { stdout, stderr, reader } = outputs();
  setNonBlocking(stdout.number, true);
  const data = new Uint8Array(64 * 1024);
  let written = 0;
  for (let round = 0; round < 60; round++) {
    try {
      written += syscall("write", stdout.number, data, data.length);
    } catch {
      // The pipe is full.
    }
    await Bun.sleep(2);
  }
  expect(written).toBeLessThan(1024 * 1024);
  stdout.close();
  stderr.close();
  expect((await collect(reader)).stdout.length).toBe(written);
});

test("whenever it is stopped, nothing is left open", async () => {
  const before = pipes();
  const hold: Fd[] = [];
  const stops: ((reader: OutputReader) => Promise<void> | void)[] = [
    (reader) => reader.stop(),
    async (reader) => {
      for await (const _ of reader.chunks) break;
    },
    async (reader) => {
      const iterator = reader.chunks[Symbol.asyncIterator]();
      await iterator.next();
      // Its reader never comes back, as one that writes to a client that has stopped reading.
      reader.stop();
    },
    async (reader) => {
      const iterator = reader.chunks[Symbol.asyncIterator]();
      await iterator.next();
      await iterator.next();
      const pending = iterator.next();
      await Bun.sleep(5);
      reader.stop();
      expect((await pending).done).toBe(true);
    },
  ];
  for (let round = 0; round < 20; round++) {
    for (const stop of stops) {
      const { stdout, stderr, reader } = outputs();
      hold.push(stdout, stderr);
      writeAll(stdout.number, bytes("a"));
      writeAll(stderr.number, bytes("b"));
      await stop(reader);
      if (round % 2 === 1) await Bun.sleep(1);
    }
  }
  for (const fd of hold) fd.close();
  expect(await pipesLeft(before)).toEqual([]);
});

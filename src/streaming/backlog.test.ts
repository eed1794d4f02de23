// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { ownFiles } from "../../test/support/own-files.ts";
import { ResourceExhaustedError } from "../errors.ts";
import { type Backlog, newBacklog } from "./backlog.ts";
import type { OutputChunk } from "./output.ts";

const MIB = 1024 * 1024;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "backlog-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

function spilled(): number[] {
  return [...ownFiles()].filter(([, file]) => file.startsWith(`${directory}/`)).map(([fd]) => fd);
}

function chunk(stream: OutputChunk["stream"], text: string | Uint8Array): OutputChunk {
  return { stream, data: Buffer.from(text as Uint8Array) };
}

async function take(backlog: Backlog, count: number): Promise<string[]> {
  const iterator = backlog.chunks[Symbol.asyncIterator]();
  const taken: string[] = [];
  for (let index = 0; index < count; index++) {
    const { value } = (await iterator.next()) as IteratorYieldResult<OutputChunk>;
    taken.push(`${value.stream}:${Buffer.from(value.data)}`);
  }
  return taken;
}

test("chunks come as they were pushed, and those before the end after it", async () => {
  const backlog = newBacklog(directory);
  backlog.push(chunk("stdout", "a"));
  backlog.push(chunk("stderr", "b"));
  backlog.end();
  backlog.push(chunk("stdout", "too late"));
  expect(await Array.fromAsync(backlog.chunks)).toEqual([chunk("stdout", "a"), chunk("stderr", "b")]);
});

test("what has no room in memory waits in a file without a name, and nothing is lost or moved", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ size: fc.integer({ min: 0, max: 400_000 }), isError: fc.boolean(), reads: fc.nat(3) }),
        {
          maxLength: 30,
        },
      ),
      async (steps) => {
        const backlog = newBacklog(directory);
        const iterator = backlog.chunks[Symbol.asyncIterator]();
        const expected = steps.map(({ size, isError }, index) =>
          chunk(isError ? "stderr" : "stdout", Buffer.alloc(size, index)),
        );
        const seen: OutputChunk[] = [];
        for (const [index, { reads }] of steps.entries()) {
          backlog.push(expected[index]!);
          for (let count = 0; count < reads && seen.length <= index; count++) {
            seen.push((await iterator.next()).value as OutputChunk);
          }
        }
        backlog.end();
        for (let result = await iterator.next(); !result.done; result = await iterator.next())
          seen.push(result.value);
        expect(seen.length).toBe(expected.length);
        for (const [index, { stream, data }] of seen.entries()) {
          expect(stream).toBe(expected[index]!.stream);
          expect(Buffer.compare(data, expected[index]!.data)).toBe(0);
        }
      },
    ),
    { numRuns: 40 },
  );
  expect(spilled()).toEqual([]);
  expect(readdirSync(directory)).toEqual([]);
});

test("beyond a megabyte it waits on disk", () => {
  const backlog = newBacklog(directory);
  for (let count = 0; count < 20; count++) backlog.push(chunk("stdout", Buffer.alloc(MIB / 2, count)));
  expect(spilled()).toHaveLength(1);
  expect(statSync(`/proc/self/fd/${spilled()[0]}`).size).toBe(18 * (MIB / 2 + 4));
  backlog.stop();
});

const small = { memoryBytes: 1000, fileBytes: 20_000, totalBytes: 50_000 };

test("a reader that is too far behind is given up, and told so, and its file goes", async () => {
  const backlog = newBacklog(directory, small);
  const data = Buffer.alloc(900);
  for (let count = 0; count < 30; count++) backlog.push({ stream: "stdout", data });
  expect(await backlog.failed).toBeInstanceOf(ResourceExhaustedError);
  const read = Array.fromAsync(backlog.chunks);
  expect(read).rejects.toThrow("too far behind");
  await read.catch(() => {});
  expect(spilled()).toEqual([]);
});

test("all together have a bound too, and what one gives back another may take", async () => {
  const data = Buffer.alloc(900);
  const fill = () => {
    const backlog = newBacklog(directory, small);
    for (let count = 0; count < 20; count++) backlog.push({ stream: "stdout", data });
    return backlog;
  };
  const first = fill();
  const second = fill();
  expect(await fill().failed).toBeInstanceOf(ResourceExhaustedError);
  first.stop();
  const fourth = fill();
  fourth.end();
  expect(await Array.fromAsync(fourth.chunks)).toHaveLength(20);
  second.stop();
});

test("where there is no disk the session ends with the reason", async () => {
  const backlog = newBacklog("/no/such/directory");
  for (let count = 0; count < 4; count++) backlog.push(chunk("stdout", Buffer.alloc(MIB / 2)));
  expect((await backlog.failed).message).toContain("ENOENT");
});

test("a reader may leave, and a chunk may come later", async () => {
  const backlog = newBacklog(directory);
  backlog.push(chunk("stdout", "a"));
  expect(await take(backlog, 1)).toEqual(["stdout:a"]);
  backlog.stop();
  backlog.push(chunk("stdout", "b"));
});

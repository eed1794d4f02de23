// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Journal } from "./journal.ts";

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "journal-"));
  dirs.push(dir);
  writeFileSync(join(dir, "journal"), "");
  return dir;
}

function record(tag: number, pid: number, status = 0, seconds = 0, nanoseconds = 0): Uint8Array {
  return new Uint8Array(new BigInt64Array([tag, pid, status, seconds, nanoseconds].map(BigInt)).buffer);
}

function open(dir: string) {
  return new Journal(join(dir, "journal"), join(dir, "journal.older"));
}

test("an exit is told with its launch's tag, its status and its time", () => {
  const dir = newDir();
  const journal = open(dir);
  appendFileSync(join(dir, "journal"), record(7, 100));
  expect(journal.advance()).toEqual([]);
  expect(journal.history(7)).toEqual({ pid: 100 });
  appendFileSync(join(dir, "journal"), record(0, 100, 9, 5, 6));
  expect(journal.advance()).toEqual([7]);
  expect(journal.history(7)?.exit).toEqual({ pid: 100, status: 9, atNs: 5_000_000_006n });
  journal.close();
});

test("a record that is not whole yet is read when it is", () => {
  const dir = newDir();
  const journal = open(dir);
  appendFileSync(join(dir, "journal"), record(7, 100).subarray(0, 25));
  journal.advance();
  expect(journal.history(7)).toBeUndefined();
  appendFileSync(join(dir, "journal"), record(7, 100).subarray(25));
  journal.advance();
  expect(journal.history(7)).toEqual({ pid: 100 });
  journal.close();
});

test("a pid that was given out again belongs to the later launch", () => {
  const dir = newDir();
  const journal = open(dir);
  appendFileSync(
    join(dir, "journal"),
    Buffer.concat([record(1, 50), record(0, 50, 1), record(2, 50), record(0, 50, 2)]),
  );
  expect(journal.advance()).toEqual([1, 2]);
  expect(journal.history(1)?.exit?.status).toBe(1);
  expect(journal.history(2)?.exit?.status).toBe(2);
  journal.close();
});

test("a fork that failed leaves no launch, and a stranger's exit none either", () => {
  const dir = newDir();
  const journal = open(dir);
  appendFileSync(join(dir, "journal"), Buffer.concat([record(3, -12), record(0, 999, 0)]));
  expect(journal.advance()).toEqual([]);
  expect(journal.history(3)).toBeUndefined();
  journal.close();
});

test("a launch in the rotated journal is known to a reader that comes later", () => {
  const dir = newDir();
  appendFileSync(join(dir, "journal"), record(4, 60));
  renameSync(join(dir, "journal"), join(dir, "journal.older"));
  writeFileSync(join(dir, "journal"), record(0, 60, 256));
  const journal = open(dir);
  expect(journal.advance()).toEqual([4]);
  expect(journal.history(4)?.exit?.status).toBe(256);
  journal.close();
});

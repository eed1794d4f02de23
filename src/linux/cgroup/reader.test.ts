// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NotFoundError } from "../../errors.ts";
import { ERRNO } from "../abi/errno.ts";
import { replaceKernel } from "../syscall.ts";
import { CgroupReader, rowOf } from "./reader.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-reader-"));
  mkdirSync(join(root, "memory"));
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

function write(name: string, text: string): void {
  writeFileSync(join(root, "memory", name), text);
}

function newReader(left: number) {
  const kept = { left };
  const directory = (name: string) => (name === "memory" ? join(root, "memory") : undefined);
  return { kept, reader: new CgroupReader({ version: "v1", directory }, kept) };
}

/** Files below the root that this process has open. */
function openFiles(): string[] {
  const links = readdirSync("/proc/self/fd").map((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`);
    } catch {
      return "";
    }
  });
  return links.filter((path) => path.startsWith(root)).map((path) => path.slice(root.length + 1));
}

test("a file is kept open and tells what is in it now, however long", () => {
  const { kept, reader } = newReader(5);
  write("a", "first\n");
  expect(reader.read("memory", "a")).toBe("first");
  write("a", "x".repeat(200_000));
  expect(reader.read("memory", "a")).toBe("x".repeat(200_000));
  expect(openFiles()).toEqual(["memory/a"]);
  expect(kept.left).toBe(4);
  reader.close();
  expect([openFiles(), kept.left]).toEqual([[], 5]);
  expect(reader.read("memory", "a")).toHaveLength(200_000);
});

test("a cgroup that is removed just when its file is opened is gone; another failure leaves nothing open", () => {
  const { kept, reader } = newReader(5);
  write("a", "first");
  const failing = (call: string, errno: number) =>
    replaceKernel((real) => ({
      call: (name, args) => (name === call ? -errno : real.call(name, args)),
    }));
  let restore = failing("openat", ERRNO.ENODEV);
  try {
    expect(reader.tryRead("memory", "a")).toBeUndefined();
  } finally {
    restore();
  }
  restore = failing("pread64", ERRNO.EIO);
  try {
    expect(() => reader.tryRead("memory", "a")).toThrow("EIO");
  } finally {
    restore();
  }
  expect([openFiles(), kept.left]).toEqual([[], 5]);
});

test("what is beyond the allowance is opened and closed each time, and that which others give back is used", () => {
  const { kept, reader } = newReader(1);
  for (const name of ["a", "b"]) write(name, name);
  expect(["a", "b", "b"].map((name) => reader.read("memory", name))).toEqual(["a", "b", "b"]);
  expect([openFiles(), kept.left]).toEqual([["memory/a"], 0]);
  kept.left = 1;
  reader.read("memory", "b");
  expect([openFiles().sort(), kept.left]).toEqual([["memory/a", "memory/b"], 0]);
  reader.close();
});

test("what is not there is not found, and nothing is kept of it", () => {
  const { kept, reader } = newReader(1);
  expect(reader.tryRead("memory", "none")).toBeUndefined();
  expect(reader.tryRead("pids", "pids.current")).toBeUndefined();
  expect(() => reader.read("memory", "none")).toThrow(NotFoundError);
  expect(() => reader.read("memory", "none")).toThrow(`cannot read ${root}/memory/none`);
  expect(kept.left).toBe(1);
});

test("a row is found by its whole name, wherever it is", () => {
  const text = "rss 1\ntotal_rss 22\nrss_huge 3\nlast 18446744073709551615";
  expect(["rss", "total_rss", "rss_huge", "last"].map((name) => rowOf(text, name))).toEqual([
    1,
    22,
    3,
    Number(18_446_744_073_709_551_615n),
  ]);
  expect([rowOf(text, "huge"), rowOf(text, "total"), rowOf("", "rss")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "../oci/digest.ts";
import { openPartialBlobs } from "./partial-blobs.ts";

let directory: string;
const LIMITS = { fromBytes: 10, ageMs: 60_000, bytes: 100 };
const discard = async (file: string) => rmSync(file);
const open = () => openPartialBlobs(directory, discard, LIMITS);
const fileOf = (name: string) => join(directory, digestOf(name).replace(":", "-"));

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-partial-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** What was received of the blob `name`, that long ago. */
function received(name: string, bytes: number, secondsAgo: number): void {
  writeFileSync(fileOf(name), Buffer.alloc(bytes));
  const at = Date.now() / 1000 - secondsAgo;
  utimesSync(fileOf(name), at, at);
}

const expectOnly = (...names: string[]) =>
  expect(
    readdirSync(directory)
      .map((name) => join(directory, name))
      .sort(),
  ).toEqual(names.map(fileOf).sort());

test("the old and the small are given up at the start", () => {
  received("young", 10, 50);
  received("old", 10, 61);
  received("small", 9, 1);
  open();
  expectOnly("young");
});

test("of too much the newest is kept", () => {
  received("oldest", 40, 30);
  received("middle", 40, 20);
  received("newest", 50, 10);
  open();
  expectOnly("newest", "middle");
});

test("what is being received is nobody else's, and is not given up", async () => {
  received("blob", 40, 1);
  const blobs = open();
  const claim = blobs.claim(digestOf("blob"));
  expect(claim?.file).toBe(fileOf("blob"));
  expect(blobs.claim(digestOf("blob"))).toBeUndefined();
  await blobs.clear();
  expectOnly("blob");
  claim?.[Symbol.dispose]();
  expect(blobs.claim(digestOf("blob"))).toBeDefined();
});

test("all that nobody receives goes where room is needed", async () => {
  received("blob", 40, 1);
  await open().clear();
  expectOnly();
});

test("a whole blob is taken in, unless it is small or being received", () => {
  const blobs = open();
  const file = join(directory, "..", `${digestOf("whole").slice(7, 20)}.blob`);
  const offer = (name: string, bytes: number) => {
    writeFileSync(file, Buffer.alloc(bytes));
    return blobs.adopt(digestOf(name), file);
  };
  try {
    expect(offer("whole", 9)).toBe(false);
    expect(offer("whole", 10)).toBe(true);
    using _ = blobs.claim(digestOf("other"));
    expect(offer("other", 10)).toBe(false);
    expectOnly("whole");
  } finally {
    rmSync(file, { force: true });
  }
});

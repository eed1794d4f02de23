// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BatchMarker, undoOpenBatch } from "./batch-marker.ts";

let directory = "";
let log = "";
let path = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-batch-"));
  log = join(directory, "0.log");
  path = join(directory, "marker");
  writeFileSync(log, "first\n");
});

afterEach(() => rmSync(directory, { recursive: true }));

/** A daemon that dies with a batch open whose records are in the log. */
function dieInBatch(staged: number): void {
  const marker = new BatchMarker(path);
  marker.open(1, statSync(log).ino, statSync(log).size, staged);
  appendFileSync(log, "second\n");
  marker.close();
}

test("records whose bytes are still staged are taken back, to be written again", () => {
  dieInBatch(7);
  undoOpenBatch(path, log, (stream) => (stream === 1 ? 7 : 0));
  expect(readFileSync(log, "utf8")).toBe("first\n");
});

test("records whose bytes have left the stage stay", () => {
  dieInBatch(7);
  undoOpenBatch(path, log, () => 0);
  expect(readFileSync(log, "utf8")).toBe("first\nsecond\n");
});

test("a batch that was cleared is not undone, nor one that a later marker has replaced", () => {
  dieInBatch(7);
  new BatchMarker(path).close();
  undoOpenBatch(path, log, () => 7);
  expect(readFileSync(log, "utf8")).toBe("first\nsecond\n");
});

test("a log that nothing is written to has no marker, and what an earlier daemon left open is closed", () => {
  const marker = new BatchMarker(path);
  marker.clear();
  expect(existsSync(path)).toBe(false);
  marker.open(0, 1, 2, 3);
  expect(statSync(path).size).toBe(40);
  marker.close();
  new BatchMarker(path).close();
  expect(readFileSync(path)).toEqual(Buffer.alloc(40));
});

test("another file at the path, after a rotation, is left alone", () => {
  dieInBatch(7);
  renameSync(log, `${log}.old`);
  writeFileSync(log, "a longer line than before\n");
  undoOpenBatch(path, log, () => 7);
  expect(readFileSync(log, "utf8")).toBe("a longer line than before\n");
});

test("one that had no room when it was made does not need it when it is taken up again", () => {
  symlinkSync("/dev/full", path);
  new BatchMarker(path).close();
  expect(() => new BatchMarker(path).open(0, 1, 2, 3)).toThrow("ENOSPC");
});

test("without a marker or without a log there is nothing to do", () => {
  undoOpenBatch(path, log, () => 7);
  dieInBatch(7);
  rmSync(log);
  expect(() => undoOpenBatch(path, log, () => 7)).not.toThrow();
});

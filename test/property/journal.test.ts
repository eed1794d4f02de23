// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { JOURNAL_RECORD_BYTES, Journal } from "../../src/launch/journal.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-journals-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const TAGS = [1, 2, 3, 4];
const word = fc.oneof(fc.integer({ min: -3, max: 6 }), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n));
const record = fc
  .tuple(fc.constantFrom(0, 0, 0, ...TAGS), fc.integer({ min: -2, max: 6 }), word, word, word)
  .map((words) => Buffer.from(new BigInt64Array(words.map(BigInt)).buffer));
const journal = fc.array(record, { maxLength: 30 }).map((records) => Buffer.concat(records));

/** All that a reader knows after it has been told of the bytes piece by piece. */
function readIn(older: Uint8Array, pieces: readonly Uint8Array[]): unknown[] {
  const [path, olderPath] = [join(directory, "journal"), join(directory, "journal.older")];
  writeFileSync(path, "");
  writeFileSync(olderPath, older);
  const reader = new Journal(path, olderPath);
  try {
    const ended: number[] = [];
    for (const piece of pieces) {
      appendFileSync(path, piece);
      ended.push(...reader.advance());
    }
    return [ended, TAGS.map((tag) => reader.history(tag))];
  } finally {
    reader.close();
  }
}

test("a journal says the same however its records are torn while they are read", () => {
  fc.assert(
    fc.property(journal, journal, fc.integer({ min: 1, max: 100 }), (older, bytes, size) => {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const whole = readIn(older, [bytes]);
      expect(readIn(older, pieces)).toEqual(whole);
      // What is not whole yet is not believed.
      const torn = bytes.subarray(0, bytes.length - (bytes.length === 0 ? 0 : 1));
      expect(readIn(older, [torn])).toEqual(
        readIn(older, [bytes.subarray(0, Math.max(0, bytes.length - JOURNAL_RECORD_BYTES))]),
      );
    }),
    fuzz(150),
  );
});

test("garbage in a journal throws nothing, and ends each launch once at most", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), journal, fc.uint8Array({ maxLength: 90 }), (a, b, c) => {
      const [ended] = readIn(a, [b, c, a]) as [number[]];
      const starts = new Map<number, number>();
      const all = Buffer.concat([b, c, a]);
      for (let at = 0; at + JOURNAL_RECORD_BYTES <= all.length; at += JOURNAL_RECORD_BYTES) {
        const tag = Number(all.readBigInt64LE(at));
        starts.set(tag, (starts.get(tag) ?? 0) + 1);
      }
      for (let at = 0; at + JOURNAL_RECORD_BYTES <= a.length; at += JOURNAL_RECORD_BYTES) {
        const tag = Number(Buffer.from(a).readBigInt64LE(at));
        starts.set(tag, (starts.get(tag) ?? 0) + 1);
      }
      for (const tag of new Set(ended))
        expect(ended.filter((other) => other === tag).length).toBeLessThanOrEqual(starts.get(tag) ?? 0);
    }),
    fuzz(200),
  );
});

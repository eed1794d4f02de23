// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as v from "valibot";
import { projectDir } from "../fixtures/images/packages.ts";
import type { Counts } from "../runner/closing-line.ts";
import { podrt, vmDir } from "./guest.ts";
import type { Part } from "./selection.ts";

/** What is known of a part that ran to its end: what it ran, and with which checkout. */
const Record = v.object({
  part: v.string(),
  stamp: v.string(),
  counts: v.object({ passed: v.number(), failed: v.number(), skipped: v.number() }),
});

const resultsDir = join(vmDir, "results");
const recordFile = (part: Part) => join(resultsDir, part.name, "record.json");

/** Makes the empty directory with the results of a part, those of an earlier run gone. */
export function newResultsDir(part: Part): string {
  const dir = join(resultsDir, part.name);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  return dir;
}

export function writeRecord(part: Part, stamp: string, counts: Counts): void {
  const record: v.InferOutput<typeof Record> = { part: JSON.stringify(part), stamp, counts };
  writeFileSync(recordFile(part), JSON.stringify(record));
}

/** The counts of a part in which nothing failed when it ran last, with the same tests and the same checkout. */
export function passedBefore(part: Part, stamp: string): Counts | undefined {
  if (!existsSync(recordFile(part))) return undefined;
  const record = v.parse(Record, JSON.parse(readFileSync(recordFile(part), "utf8")));
  const isSame = record.part === JSON.stringify(part) && record.stamp === stamp;
  return isSame && record.counts.failed === 0 ? record.counts : undefined;
}

/** Changes when the binary, the system, a source or a test changes. */
export function checkoutStamp(): string {
  const hash = createHash("sha256");
  const trees = ["src", "test", "scripts"].flatMap((dir) =>
    readdirSync(join(projectDir, dir), { recursive: true, encoding: "utf8" }).map((name) => `${dir}/${name}`),
  );
  for (const name of ["package-lock.json", podrt, join(vmDir, "stamp"), ...trees.sort()]) {
    const stat = statSync(resolve(projectDir, name));
    if (stat.isFile()) hash.update(`${name} ${stat.size} ${Math.floor(stat.mtimeMs)}\n`);
  }
  return hash.digest("hex");
}

// SPDX-License-Identifier: Apache-2.0

/**
 * Boots the virtual machine that fetch.sh made with this checkout on a second disk, once for each part of the tests,
 * and ends with their closing line, `N passed, N failed, N skipped`. What the machine writes to its disks is forgotten.
 * A part that hangs or breaks the machine is one failure, and the next part runs.
 *
 * environment: ARCH of the machine; PART names or numbers of parts; FILES words that paths of test files contain (`all` for every file),
 * FOCUS of the validation suite; RESUME=1 leaves out what has passed before; VM_MINUTES of each part, VM_PATIENCE,
 * VM_ACCEL=kvm.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { prepareImages, suiteImages } from "../fixtures/images/prepare.ts";
import { type Counts, closingLine, sumOf } from "../runner/closing-line.ts";
import { testFiles } from "../runner/test-files.ts";
import { boot, type Outcome } from "./boot.ts";
import { keepImages, makeProjectDisk, removeDisks } from "./disks.ts";
import { busyboxDir, goPrograms, guest, isOwn } from "./guest.ts";
import { checkoutStamp, newResultsDir, passedBefore, writeRecord } from "./records.ts";
import { foreignParts, type Part, partsFor, usualParts } from "./selection.ts";

const { PART, FILES, FOCUS, RESUME, VM_MINUTES, VM_PATIENCE, VM_ACCEL = "tcg" } = process.env;
const accelerator = VM_ACCEL === "kvm" && isOwn ? "kvm" : "tcg";
const patience = Number(VM_PATIENCE || (accelerator === "kvm" ? "1" : "6"));
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.once(signal, () => process.exit(code));
}
process.exitCode = await main().catch((error: unknown) => {
  console.error(`make test-vm: ${error instanceof Error ? error.message : error}`);
  return 1;
});

async function main(): Promise<number> {
  const wishes = { part: PART || undefined, files: FILES || undefined, focus: FOCUS || undefined };
  const parts = partsFor(wishes, testFiles(), isOwn ? usualParts : foreignParts);
  const missing = missingForSuite();
  const runnable = parts.filter(({ suite }) => suite === undefined || missing === undefined);
  const lines: string[] = [];
  for (const { name } of parts.filter((part) => !runnable.includes(part))) {
    lines.push(`skipped: ${name}: ${missing}`);
  }
  const stamp = checkoutStamp();
  // Here in seconds, there in minutes; but this machine has the programs for its own kind alone.
  if (isOwn) {
    if (runnable.some(({ files }) => files !== undefined)) await prepareImages();
    if (runnable.some(({ suite }) => suite !== undefined)) await prepareImages(suiteImages);
  }
  const jobs = Object.fromEntries(runnable.map((part) => [part.name, { ...part, patience }]));
  const counts: Counts[] = [{ passed: 0, failed: 0, skipped: parts.length - runnable.length }];
  let hasDisk = false;
  try {
    for (const [index, part] of runnable.entries()) {
      console.log(`vm: ${guest.architecture}, part ${index + 1} of ${runnable.length}, ${part.name}`);
      if (!hasDisk) makeProjectDisk(jobs);
      const { line, madeImages, ...result } = await runPart(part, stamp);
      hasDisk = !madeImages;
      counts.push(result.counts);
      lines.push(line);
      console.log(`vm: ${line}`);
    }
  } finally {
    removeDisks();
  }
  for (const line of lines) console.log(line);
  const sum = sumOf(counts);
  console.log(closingLine(sum));
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}

interface PartResult {
  readonly counts: Counts;
  /** Says what came of it. */
  readonly line: string;
  /** Whether there are images now that the project's disk has not. */
  readonly madeImages: boolean;
}

/** One boot. */
async function runPart(part: Part, stamp: string): Promise<PartResult> {
  const before = RESUME === "1" ? passedBefore(part, stamp) : undefined;
  if (before !== undefined) {
    return { counts: before, line: `passed before: ${part.name}: ${closingLine(before)}`, madeImages: false };
  }
  const startMs = performance.now();
  const resultsDir = newResultsDir(part);
  const outcome: Outcome = await boot({
    accelerator,
    environment: { PART: part.name, INIT: part.init ?? "script" },
    resultsDir,
    limitMs: Number(VM_MINUTES || part.minutes) * 60_000,
  });
  const madeImages = keepImages(resultsDir);
  const time = `${((performance.now() - startMs) / 60_000).toFixed(1)} minutes`;
  if ("problem" in outcome) {
    const line = `failed: ${part.name}, after ${time}: ${outcome.problem}\n(${resultsDir})`;
    return { counts: { passed: 0, failed: 1, skipped: 0 }, line, madeImages };
  }
  const { counts } = outcome;
  writeRecord(part, stamp, counts);
  const how = counts.failed === 0 && counts.passed > 0 ? "passed" : "failed";
  return {
    counts,
    line: `${how}: ${part.name}: ${closingLine(counts)}, in ${time} (${resultsDir})`,
    madeImages,
  };
}

function missingForSuite(): string | undefined {
  const programs = [join(goPrograms, "critest"), join(busyboxDir, "busybox")];
  return programs.every((file) => existsSync(file)) ? undefined : "critest is not here, which Go builds";
}

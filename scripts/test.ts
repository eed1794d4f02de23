// SPDX-License-Identifier: Apache-2.0

/**
 * Runs every test and ends with one line, `N passed, N failed, N skipped`, summed over all runs. Files in
 * test/integration run one by one, each in a process of its own that is ended when it takes too long.
 *
 * A file in which something failed runs once more when all others are done, since a machine that others use as well may
 * hold up a test beyond any deadline. What failed is listed before the last line: as failed when it failed again, as
 * unsteady when it did not.
 *
 * environment: PODRT_TEST_PATIENCE, by what deadlines are multiplied on a machine much slower than most; VM_PART, a part
 * of test/vm to run as well, where a virtual machine can be made
 *
 * usage: bun scripts/test.ts [WORD...]   runs only the files whose path contains one of the words
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ARCHITECTURE } from "../src/linux/architecture.ts";
import { type Counts, closingLine, sumOf } from "../test/runner/closing-line.ts";
import { countedRun } from "../test/runner/counted-run.ts";
import { type Failure, readJunit } from "../test/runner/junit.ts";
import { testFiles } from "../test/runner/test-files.ts";

interface Outcome {
  readonly files: readonly string[];
  readonly counts: Counts;
  readonly failures: readonly Failure[];
}

const projectDir = resolve(import.meta.dir, "..");
const patience = Number(process.env["PODRT_TEST_PATIENCE"] ?? "1");
const fileTimeoutMs = 480_000 * patience;
const testTimeoutMs = 60_000 * patience;
const succeeded = "ended with code 0";
const outOfTime = `was ended after ${fileTimeoutMs / 1000} s`;
const maximumAgain = 5;
/** The exit code of test/vm/fetch.sh where there is nothing to make a virtual machine from. */
const noVirtualMachine = 3;
const scratchDir = mkdtempSync(join(tmpdir(), "podrt-results-"));
const words = process.argv.slice(2);
const vmPart = process.env["VM_PART"] ?? "";
const all = testFiles().filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
const endToEnd = all.filter((file) => file.startsWith("test/integration/"));
const unit = all.filter((file) => !endToEnd.includes(file));

const outcomes: Outcome[] = [];
const unsteady: Failure[] = [];
try {
  if (unit.length > 0) outcomes.push(await bunTest(unit));
  if (process.getuid?.() === 0) for (const file of endToEnd) outcomes.push(await bunTest([file]));
  else console.log(`not root: the ${endToEnd.length} files of test/integration are skipped`);
  await runFailedAgain();
  if (vmPart !== "") outcomes.push(await virtualMachine(vmPart));
} finally {
  rmSync(scratchDir, { recursive: true });
}

for (const { file, test, message } of unsteady)
  console.log(`unsteady, passed when run again: ${file}: ${test}: ${message}`);
for (const { file, test, message } of outcomes.flatMap(({ failures }) => failures))
  console.log(`failed: ${file}: ${test}: ${message}`);
const skippedFiles = process.getuid?.() === 0 ? 0 : endToEnd.length;
const total = sumOf([
  ...outcomes.map(({ counts }) => counts),
  { passed: 0, failed: 0, skipped: skippedFiles },
]);
console.log(closingLine(total));
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

/** Files that failed, once more, one after the other; a change that breaks many of them fails at once. */
async function runFailedAgain(): Promise<void> {
  const failedFiles = new Set(outcomes.flatMap(({ failures }) => failures.map(({ file }) => file)));
  if (failedFiles.size > maximumAgain) return;
  for (const [index, first] of outcomes.entries()) {
    const again: Outcome[] = [];
    for (const file of first.files) if (failedFiles.has(file)) again.push(await bunTest([file]));
    if (again.length === 0) continue;
    const failures = again.flatMap(({ failures }) => failures);
    unsteady.push(...first.failures.filter(({ file }) => !failures.some((failure) => failure.file === file)));
    outcomes[index] =
      first.files.length === 1 ? again[0]! : { ...first, failures, counts: corrected(first, failures) };
  }
}

/** The counts of a run of many files, of which those that failed ran again and failed so. */
function corrected({ counts }: Outcome, failures: readonly Failure[]): Counts {
  const { passed, failed, skipped } = counts;
  return { passed: passed + failed - failures.length, failed: failures.length, skipped };
}

/** One part of the tests in the virtual machine; where none can be made, it is skipped and the reason is shown. */
async function virtualMachine(part: string): Promise<Outcome> {
  const files = [`the virtual machine, ${part}`];
  const { status } = spawnSync("test/vm/fetch.sh", [".build/vm", ARCHITECTURE], {
    cwd: projectDir,
    stdio: "inherit",
  });
  if (status === noVirtualMachine) {
    console.log(`skipped: ${files[0]}: it cannot be made here`);
    return { files, counts: { passed: 0, failed: 0, skipped: 1 }, failures: [] };
  }
  const failedToMake = { passed: 0, failed: 1, skipped: 0 };
  const counts =
    status === 0 ? await countedRun(["test/vm/run.ts"], { ARCH: ARCHITECTURE, PART: part }) : failedToMake;
  const failures = counts.failed > 0 ? [{ file: files[0]!, test: "the run", message: "see above" }] : [];
  return { files, counts, failures };
}

/** One `bun test`; what it does not report (a file that fails to load, a run that was ended) is one failure. */
async function bunTest(files: readonly string[]): Promise<Outcome> {
  const report = join(scratchDir, "report.xml");
  rmSync(report, { force: true });
  const args = [
    "test",
    `--timeout=${testTimeoutMs}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
    ...files.map((f) => `./${f}`),
  ];
  const end = await runBun(args);
  const junit = existsSync(report) ? readJunit(readFileSync(report, "utf8")) : undefined;
  const { counts, failures } = junit ?? { counts: { passed: 0, failed: 0, skipped: 0 }, failures: [] };
  if (end === succeeded || (end !== outOfTime && counts.failed > 0)) return { files, counts, failures };
  const broken = { file: nameOf(files), test: "the run", message: `${end}, outside of its tests` };
  return { files, counts: { ...counts, failed: counts.failed + 1 }, failures: [...failures, broken] };
}

/** Runs bun and tells how that ended. */
function runBun(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: projectDir, stdio: ["ignore", "inherit", "inherit"] });
    let isOutOfTime = false;
    const timer = setTimeout(() => {
      isOutOfTime = true;
      child.kill("SIGKILL");
    }, fileTimeoutMs);
    child.once("error", ({ message }) => resolve(message));
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      resolve(isOutOfTime ? outOfTime : `ended with ${signal ?? `code ${code}`}`);
    });
  });
}

function nameOf(files: readonly string[]): string {
  return files.length === 1 ? files[0]! : `one of ${files.length} files`;
}

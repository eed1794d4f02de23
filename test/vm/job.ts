// SPDX-License-Identifier: Apache-2.0

/**
 * Runs inside the virtual machine what jobs.json says of one part: test files, the validation suite, or both. The last
 * line is the sum of both, `N passed, N failed, N skipped`; the exit code is 0 when nothing failed and something passed.
 *
 * environment: PART its name
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type ImageSet, prepareImages, suiteImages, testImages } from "../fixtures/images/prepare.ts";
import { type Counts, closingLine, sumOf } from "../runner/closing-line.ts";
import { countedRun } from "../runner/counted-run.ts";
import type { Part } from "./selection.ts";

/** What the virtual machine is to run, by the name of the part: jobs.json. */
export type Jobs = Readonly<Record<string, Job>>;
export interface Job extends Pick<Part, "files" | "suite"> {
  /** By what the deadlines of tests are multiplied. */
  readonly patience: number;
}

const projectDir = join(import.meta.dir, "../..");
const resultsDir = join(projectDir, ".build/results");
mkdirSync(resultsDir, { recursive: true });

const part = process.env["PART"] ?? "";
const job = (JSON.parse(readFileSync(join(projectDir, ".build/jobs.json"), "utf8")) as Jobs)[part];
if (job === undefined) throw new Error(`jobs.json has no part ${part}`);
const environment = { PODRT_TEST_PATIENCE: String(job.patience) };
const runs: Counts[] = [];
if (job.files !== undefined) {
  await prepareAndHandOver(testImages);
  runs.push(await countedRun(["scripts/test.ts", ...job.files], environment));
}
if (job.suite !== undefined) {
  await prepareAndHandOver(suiteImages);
  runs.push(await countedRun(["test/conformance/run.ts"], { ...environment, ...job.suite }));
  for (const name of ["critest.log", "report.json"]) {
    const file = join(projectDir, ".build/conformance", name);
    if (existsSync(file)) copyFileSync(file, join(resultsDir, name));
  }
}
const sum = sumOf(runs);
console.log(closingLine(sum));
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;

/** Images that had to be made here, which takes minutes, are handed over at once, for the next boot. */
async function prepareAndHandOver(set: ImageSet): Promise<void> {
  const stamp = join(set.dir, "stamp");
  const stampNow = () => (existsSync(stamp) ? readFileSync(stamp, "utf8") : undefined);
  const before = stampNow();
  await prepareImages(set);
  if (stampNow() === before) return;
  cpSync(set.dir, join(resultsDir, basename(set.dir)), { recursive: true });
  spawnSync("bash", ["test/vm/hand-over.sh"], { cwd: projectDir, stdio: "inherit" });
}

// SPDX-License-Identifier: Apache-2.0

/**
 * Runs inside the virtual machine what jobs.json says of one part: test files, the validation suite, or both. The last
 * line is the sum of both, `N passed, N failed, N skipped`; the exit code is 0 when nothing failed and something passed.
 *
 * environment: PART its name
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Counts, closingLine, countsOf, sumOf } from "../runner/closing-line.ts";
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
const { patience } = job;
const runs: Counts[] = [];
if (job.files !== undefined) runs.push(await run(["scripts/test.ts", ...job.files]));
if (job.suite !== undefined) {
  runs.push(await run(["test/conformance/run.ts"], job.suite));
  for (const name of ["critest.log", "report.json"]) {
    const file = join(projectDir, ".build/conformance", name);
    if (existsSync(file)) copyFileSync(file, join(resultsDir, name));
  }
}
const sum = sumOf(runs);
console.log(closingLine(sum));
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;

/** Output passes through; a run without its closing line, or whose exit code contradicts it, is one more failure. */
function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Counts> {
  const child = spawn(process.execPath, args, {
    cwd: projectDir,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PODRT_TEST_PATIENCE: String(patience), ...env },
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    process.stdout.write(chunk);
    text = (text + chunk).slice(-1000);
  });
  return new Promise((resolve) => {
    child.once("error", () => resolve({ passed: 0, failed: 1, skipped: 0 }));
    child.once("close", (code) => {
      const counts = countsOf(text) ?? { passed: 0, failed: 1, skipped: 0 };
      resolve(code === 0 || counts.failed > 0 ? counts : { ...counts, failed: 1 });
    });
  });
}

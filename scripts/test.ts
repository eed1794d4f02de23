// SPDX-License-Identifier: Apache-2.0

/**
 * Runs every test and ends with one line, `N passed, N failed, N skipped`, summed over all runs. Files in
 * test/integration run one by one, each in a process of its own that is ended when it takes too long.
 *
 * environment: PODRT_TEST_PATIENCE, by what deadlines are multiplied on a machine much slower than most
 *
 * usage: bun scripts/test.ts [WORD...]   runs only the files whose path contains one of the words
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const projectDir = resolve(import.meta.dir, "..");
const patience = Number(process.env["PODRT_TEST_PATIENCE"] ?? "1");
const fileTimeoutMs = 240_000 * patience;
const testTimeoutMs = 60_000 * patience;
const scratchDir = mkdtempSync(join(tmpdir(), "podrt-results-"));
const words = process.argv.slice(2);
const all = [...testFiles("src"), ...testFiles("test")].filter(
  (file) => words.length === 0 || words.some((word) => file.includes(word)),
);
const endToEnd = all.filter((file) => file.startsWith("test/integration/"));
const alone = all.filter((file) => !endToEnd.includes(file));

const results: Counts[] = [];
try {
  if (alone.length > 0) results.push(await bunTest(alone, "unit"));
  if (process.getuid?.() === 0) {
    for (const [index, file] of endToEnd.entries())
      results.push(await bunTest([file], `end-to-end-${index}`));
  } else if (endToEnd.length > 0) {
    console.log(`not root: the ${endToEnd.length} files of test/integration are skipped`);
    results.push({ passed: 0, failed: 0, skipped: endToEnd.length });
  }
} finally {
  rmSync(scratchDir, { recursive: true });
}

const total = (key: keyof Counts) => results.reduce((sum, counts) => sum + counts[key], 0);
console.log(`${total("passed")} passed, ${total("failed")} failed, ${total("skipped")} skipped`);
process.exitCode = total("failed") === 0 && total("passed") > 0 ? 0 : 1;

function testFiles(dir: string): string[] {
  return readdirSync(join(projectDir, dir), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `${dir}/${name}`)
    .sort();
}

/** One `bun test`; what it does not report (a file that fails to load, a run that was ended) counts as one failure. */
async function bunTest(files: readonly string[], name: string): Promise<Counts> {
  const report = join(scratchDir, `${name}.xml`);
  const args = [
    "test",
    `--timeout=${testTimeoutMs}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
    ...files.map((f) => `./${f}`),
  ];
  const code = await runBun(args, name);
  const counts = countsIn(report);
  if (code === 0 || counts.failed > 0) return counts;
  console.log(`${files.length === 1 ? files[0] : name}: the run failed outside its tests`);
  return { ...counts, failed: counts.failed + 1 };
}

function runBun(args: readonly string[], name: string): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: projectDir, stdio: ["ignore", "inherit", "inherit"] });
    const timer = setTimeout(() => {
      console.log(`${name}: ended after ${fileTimeoutMs / 1000} s`);
      child.kill("SIGKILL");
    }, fileTimeoutMs);
    child.once("error", () => resolve(1));
    child.once("exit", (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
  });
}

/** The totals in the head of a JUnit report; none when the report was not written. */
function countsIn(report: string): Counts {
  let head: string;
  try {
    head = /<testsuites [^>]*>/.exec(readFileSync(report, "utf8"))?.[0] ?? "";
  } catch {
    head = "";
  }
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = count("failures");
  const skipped = count("skipped");
  return { passed: count("tests") - failed - skipped, failed, skipped };
}

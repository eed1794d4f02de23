// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { type Counts, countsOf } from "./closing-line.ts";

const projectDir = resolve(import.meta.dir, "../..");

/**
 * Runs a script of the project that ends with a closing line, and answers its counts. Output passes through; a run
 * without the line, or whose exit code contradicts it, is one more failure.
 */
export function countedRun(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Counts> {
  const child = spawn(process.execPath, args, {
    cwd: projectDir,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
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

// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Counts, countsOf } from "../runner/closing-line.ts";
import { makeResultsDisk, readResults } from "./disks.ts";
import { vmDir } from "./guest.ts";
import { emulator, emulatorModules } from "./machine.ts";

export interface BootOptions {
  readonly accelerator: "tcg" | "kvm";
  /** What process 1 finds in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where its output and what it wrote to the disk for results go. */
  readonly resultsDir: string;
  /** When the machine is ended. */
  readonly limitMs: number;
}

/** What became of one boot: the counts of its closing line, or why there is none. */
export type Outcome = { readonly counts: Counts } | { readonly problem: string };

const consoleFile = join(vmDir, "console.log");

/** Boots the machine, passes its output on and keeps it, and answers what came of it once it is off. */
export async function boot(options: BootOptions): Promise<Outcome> {
  makeResultsDisk();
  const log = join(options.resultsDir, "output.log");
  writeFileSync(log, "");
  const { output, problem } = await runEmulator(options);
  const exit = readResults(options.resultsDir);
  const counts = countsOf(output);
  if (problem === undefined && exit !== undefined && counts !== undefined) {
    // A run that says that all is well and exits otherwise is a failure.
    return { counts: exit === 0 || counts.failed > 0 ? counts : { ...counts, failed: 1 } };
  }
  const where = lastFile(readFileSync(log, "utf8"));
  const what = problem ?? "it ended without a result";
  return { problem: `${what}${where === undefined ? "" : `, in ${where}`}\n${consoleTail()}` };
}

function runEmulator(options: BootOptions): Promise<{ output: string; problem?: string }> {
  const { accelerator, environment, resultsDir, limitMs } = options;
  const [program, ...args] = emulator(accelerator, environment);
  const env = { ...process.env, QEMU_MODULE_DIR: emulatorModules };
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "inherit"], env });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  let problem: string | undefined;
  const timer = setTimeout(() => {
    problem = `it was ended after ${limitMs / 60_000} minutes (VM_MINUTES)`;
    kill();
  }, limitMs);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    process.stdout.write(chunk);
    appendFileSync(join(resultsDir, "output.log"), chunk);
    output = (output + chunk).slice(-1000);
  });
  return new Promise((resolve) => {
    const end = (why?: string) => {
      clearTimeout(timer);
      process.off("exit", kill);
      resolve({ output, ...(why === undefined ? {} : { problem: why }) });
    };
    child.once("error", (error) => end(error.message));
    child.once("close", (code, signal) =>
      end(problem ?? (code === 0 ? undefined : `the emulator ended with ${signal ?? code}`)),
    );
  });
}

/** The test file that began last. */
function lastFile(output: string): string | undefined {
  return [...output.matchAll(/^(\S+\.test\.ts):\r?$/gm)].at(-1)?.[1];
}

function consoleTail(): string {
  if (!existsSync(consoleFile)) return "";
  return readFileSync(consoleFile, "utf8").trimEnd().split("\n").slice(-20).join("\n");
}

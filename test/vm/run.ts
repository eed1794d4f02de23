// SPDX-License-Identifier: Apache-2.0

/**
 * Boots the virtual machine that fetch.sh made with this checkout on a second disk, runs tests there and ends with
 * their closing line, `N passed, N failed, N skipped`. What the machine writes to its disks is forgotten.
 *
 * environment: FILES words that paths of test files contain (`all` for every file), FOCUS of the validation suite;
 * naming one of the two leaves out the other. VM_MINUTES until the machine is ended, VM_PATIENCE, VM_ACCEL=kvm.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { prepareImages, suiteImages } from "../fixtures/images/prepare.ts";
import { closingLine, countsOf } from "../runner/closing-line.ts";
import { makeDisks, readResults, vmDir } from "./disks.ts";
import type { Job } from "./job.ts";
import { emulator, emulatorModules } from "./machine.ts";
import { defaultFiles } from "./selection.ts";

const { FILES, FOCUS, VM_MINUTES = "100", VM_PATIENCE, VM_ACCEL = "tcg" } = process.env;
const accelerator = VM_ACCEL === "kvm" ? "kvm" : "tcg";
process.exitCode = await main().catch((error: unknown) => {
  console.error(`make test-vm: ${error instanceof Error ? error.message : error}`);
  return 1;
});

async function main(): Promise<number> {
  const startMs = performance.now();
  const wanted = job();
  // Here in seconds, there in minutes.
  if (wanted.files !== undefined) await prepareImages();
  if (wanted.suite !== undefined) await prepareImages(suiteImages);
  makeDisks(wanted);
  const { output, problem } = await boot(Number(VM_MINUTES) * 60_000);
  const exit = readResults();
  const minutes = ((performance.now() - startMs) / 60_000).toFixed(1);
  console.log(
    `vm: ended after ${minutes} minutes; logs are in ${vmDir}/results, the console in ${vmDir}/console.log`,
  );
  const counts = countsOf(output);
  if (problem === undefined && exit !== undefined && counts !== undefined) {
    console.log(closingLine(counts));
    return exit;
  }
  console.log(`vm: ${problem ?? "it ended without a result"}`);
  console.log(consoleTail());
  console.log(closingLine({ passed: 0, failed: 1, skipped: 0 }));
  return 1;
}

function job(): Job {
  const words = FILES === "all" ? [] : (FILES?.split(/\s+/).filter(Boolean) ?? defaultFiles);
  const hasSuite = existsSync(`${vmDir}/../bin/critest`) && existsSync(`${vmDir}/../busybox/busybox`);
  if (!hasSuite) console.log("make test-vm: critest is not here: the validation suite is left out");
  return {
    ...(FILES !== undefined || FOCUS === undefined ? { files: words } : {}),
    ...(hasSuite && (FOCUS !== undefined || FILES === undefined) ? { suite: FOCUS ? { FOCUS } : {} } : {}),
    patience: Number(VM_PATIENCE ?? (accelerator === "kvm" ? "1" : "6")),
  };
}

/** Runs the machine to its end; its output passes through, and the end of it is answered. */
function boot(limitMs: number): Promise<{ output: string; problem?: string }> {
  const [program, ...args] = emulator(accelerator);
  const env = { ...process.env, QEMU_MODULE_DIR: emulatorModules };
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "inherit"], env });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
  let problem: string | undefined;
  const timer = setTimeout(() => {
    problem = `ended after ${limitMs / 60_000} minutes (VM_MINUTES)`;
    kill();
  }, limitMs);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    process.stdout.write(chunk);
    output = (output + chunk).slice(-1000);
  });
  return new Promise((resolve) => {
    const end = (why?: string) => {
      clearTimeout(timer);
      process.off("exit", kill);
      resolve({ output, ...(why === undefined ? {} : { problem: why }) });
    };
    child.once("error", (error) => end(error.message));
    child.once("close", (code) =>
      end(problem ?? (code === 0 ? undefined : `the emulator exited with ${code}`)),
    );
  });
}

function consoleTail(): string {
  const file = `${vmDir}/console.log`;
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").slice(-20).join("\n") : "";
}

// SPDX-License-Identifier: Apache-2.0
import { SIGNAL_SET_BYTES } from "../launch/signals.ts";
import { isCompiled } from "../lib/compiled.ts";
import { SIG_SETMASK } from "../linux/abi/signal.ts";
import { stringVector } from "../linux/string-vector.ts";
import { syscall } from "../linux/syscall.ts";

/*
 * What the JavaScript engine is told when the daemon starts, which it reads from its environment before the first line of
 * the program, and from nowhere else. What was measured is in docs/performance.md.
 */

const OPTIONS: Readonly<Record<string, string>> = {
  // A function is compiled by the optimizing compilers once it has done a hundred times what is usual: a daemon that is
  // asked now and then has many that are warm, whose optimized code and what it took to make it is kept for nothing. What
  // really goes round and round is there within milliseconds all the same.
  BUN_JSC_thresholdForOptimizeAfterWarmUp: "100000",
  BUN_JSC_thresholdForOptimizeAfterLongWarmUp: "100000",
  BUN_JSC_thresholdForOptimizeSoon: "100000",
  // Seconds of quiet before each of three collections; usually 10, 110 and 480.
  BUN_IDLE_GC_SECONDS: "3,117,480",
};

/**
 * Starts this program over in its own process with these options, where it has none of them yet; variables that somebody
 * has set are as they were. Returns where there is nothing to do or it cannot be done, and the program goes on as it is.
 */
export function useEngineOptions(): void {
  const names = Object.keys(OPTIONS);
  if (!isCompiled || names.some((name) => process.env[name] !== undefined)) return;
  const environment = { ...process.env, ...OPTIONS };
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const argv = stringVector([process.argv0, ...process.argv.slice(2)]);
  // The mask is what exec hands on.
  const former = new Uint8Array(SIGNAL_SET_BYTES);
  syscall("rt_sigprocmask", SIG_SETMASK, new Uint8Array(SIGNAL_SET_BYTES), former, SIGNAL_SET_BYTES);
  try {
    syscall("execve", process.execPath, argv, stringVector(variables));
  } catch {
    // As when the file was taken away meanwhile: only memory is lost.
    syscall("rt_sigprocmask", SIG_SETMASK, former, null, SIGNAL_SET_BYTES);
  }
}

/** So that no program that the daemon starts has them. */
export function forgetEngineOptions(): void {
  for (const [name, value] of Object.entries(OPTIONS))
    if (process.env[name] === value) delete process.env[name];
}

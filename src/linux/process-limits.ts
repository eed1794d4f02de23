// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { isAlive, type ProcessIdentity } from "./process.ts";

/** One limit of getrlimit(2) that is in force. */
export interface SoftLimit {
  /** `max_open_files`: what the kernel calls it, in small letters. */
  readonly name: string;
  readonly value: bigint;
}

/** The soft limits of a process that are not unlimited; none when it has ended. */
export function softLimitsOf(process: ProcessIdentity): readonly SoftLimit[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${process.pid}/limits`, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return [];
    throw error;
  }
  return isAlive(process) ? parseLimits(text) : [];
}

/** The text of /proc/PID/limits (proc_pid_limits(5)): columns of name, soft limit, hard limit and unit. */
export function parseLimits(text: string): readonly SoftLimit[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(Max [a-z ]+?) {2,}(\d+) /.exec(line);
    if (match === null) return [];
    return [
      { name: (match[1] as string).toLowerCase().replaceAll(" ", "_"), value: BigInt(match[2] as string) },
    ];
  });
}

// SPDX-License-Identifier: Apache-2.0
import type { ProcessDirectory } from "./process-directory.ts";

/** One limit of getrlimit(2) that is in force. */
export interface SoftLimit {
  /** `max_open_files`: what the kernel calls it, in small letters. */
  readonly name: string;
  readonly value: bigint;
}

/** What was read last, since nearly all processes of a machine have the same limits. */
let last: { readonly text: string; readonly limits: readonly SoftLimit[] } = { text: "", limits: [] };

/** The soft limits of a process that are not unlimited; none when it has ended. */
export function softLimitsOf(process: ProcessDirectory): readonly SoftLimit[] {
  const text = process.read("limits") ?? "";
  if (text !== last.text) last = { text, limits: parseLimits(text) };
  return last.limits;
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

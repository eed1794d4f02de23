// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";

/** How often each system call was made, by its name. */
export type SyscallCounts = Readonly<Record<string, number>>;

/**
 * What threads wait with, and what the engine does about memory: how often depends on how fast the machine is and not on
 * what is asked for.
 */
const OF_THE_ENGINE = new Set([
  "clock_gettime",
  "clock_nanosleep",
  "epoll_pwait",
  "epoll_pwait2",
  "epoll_wait",
  "futex",
  "getrusage",
  "madvise",
  "membarrier",
  "mmap",
  "mprotect",
  "munmap",
  "nanosleep",
  "restart_syscall",
  "rt_sigreturn",
  "sched_yield",
  "tgkill",
]);

export const hasStrace = Bun.which("strace") !== null;

/**
 * Counts the system calls that the threads of a process make during the work, by strace(1), without those of the engine
 * that runs it; those of the processes that it starts only where that is asked for.
 */
export async function countSyscalls(
  pid: number,
  work: () => Promise<void>,
  { withChildren } = { withChildren: false },
): Promise<SyscallCounts> {
  const dir = mkdtempSync(join(tmpdir(), "podrt-strace-"));
  const table = join(dir, "counts");
  const threads = readdirSync(`/proc/${pid}/task`);
  const follow = withChildren ? ["-f"] : [];
  const attach = threads.flatMap((thread) => ["-p", thread]);
  const child = spawn("strace", ["-c", ...follow, "-o", table, ...attach], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  try {
    // A thread may end before strace comes to it.
    const attached = () => threads.every((thread) => new RegExp(`\\b${thread}\\b`).test(said));
    await eventually("strace has attached", attached, 20_000);
    await work();
    child.kill("SIGINT");
    await ended;
    return readCounts(readFileSync(table, "utf8"));
  } finally {
    child.kill("SIGKILL");
    await ended;
    rmSync(dir, { recursive: true });
  }
}

/** Rows of `% time, seconds, usecs/call, calls, errors (or nothing), syscall`. */
function readCounts(table: string): SyscallCounts {
  const rows = [...table.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$/gm)];
  const counts = rows.map((match) => [match[2]!, Number(match[1])] as const);
  return Object.fromEntries(counts.filter(([name]) => name !== "total" && !OF_THE_ENGINE.has(name)));
}

export function totalOf(counts: SyscallCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

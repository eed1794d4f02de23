// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { sleep } from "../lib/deadline.ts";
import { ERRNO } from "./abi/errno.ts";
import { SIGNAL } from "./abi/signal.ts";
import { Fd, orClosed } from "./fd.ts";
import { isReady, POLLIN } from "./poll.ts";
import { readKernelFile } from "./proc-file.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

/** A process by number and start time, so that a number given out again is never mistaken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks after boot, as text. */
  readonly startTicks: string;
}

interface ProcessStat extends ProcessIdentity {
  readonly parent: number;
  /** False for a zombie: every thread has exited and only the parent's wait is outstanding. */
  readonly isRunning: boolean;
}

/** The identity of process `pid` as it is now, zombie or not; undefined when there is none. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat && { pid, startTicks: stat.startTicks };
}

/** The same for a child that may have been reaped already, which is then an identity that no process has. */
export function identifyChild(pid: number): ProcessIdentity {
  return identify(pid) ?? { pid, startTicks: "0" };
}

/** The identity of process `pid` while that is a child of `parent`, zombie or not. */
export function identifyChildOf(parent: number, pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat?.parent === parent ? { pid, startTicks: stat.startTicks } : undefined;
}

/** True while this very process (not a later one of its number) exists and is not a zombie. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  return stat?.isRunning === true && stat.startTicks === identity.startTicks;
}

/** Nobody has the number, or a thread has: for that older kernels say EINVAL, newer ones ENOENT. */
const NO_PROCESS: ReadonlySet<number> = new Set([ERRNO.ESRCH, ERRNO.EINVAL, ERRNO.ENOENT]);

/** pidfd_open(2); the descriptor becomes readable when the process has exited. ESRCH when there is none. */
export function openPidfd(pid: number): Fd {
  return new Fd(syscall("pidfd_open", pid, 0));
}

/**
 * Sends `signo` to this very process; false when it is gone or a zombie.
 *
 * The pidfd pins whatever process has the number; reading its start time afterwards tells whether
 * that is ours, and nothing can change between that look and the signal.
 */
export function signal(identity: ProcessIdentity, signo: number): boolean {
  using pidfd = pin(identity);
  if (pidfd === undefined) return false;
  const result = trySyscall("pidfd_send_signal", pidfd.number, signo, null, 0);
  if (result === -ERRNO.ESRCH) return false;
  if (result < 0) throw new SyscallError("pidfd_send_signal", -result, `process ${identity.pid}`);
  return true;
}

/** SIGKILL to each that still exists. */
export function killAll(identities: Iterable<ProcessIdentity>): void {
  for (const identity of identities) signal(identity, SIGNAL.SIGKILL);
}

const SHORTEST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/**
 * Waits at most `timeoutMs` until the process has exited (it may still be a zombie); false on timeout. It is looked
 * at again and again, and at once when `hint` resolves, where somebody may tell.
 */
export async function waitGone(
  identity: ProcessIdentity,
  timeoutMs: number,
  hint?: Promise<void>,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  using pidfd = pin(identity);
  if (pidfd === undefined) return true;
  let hinted = hint?.then(() => {
    hinted = undefined;
  });
  for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    if (hasExited(pidfd)) return true;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    const pause = sleep(Math.min(pauseMs, leftMs));
    await (hinted === undefined ? pause : Promise.race([pause, hinted]));
  }
}

/** The boot these pids and start times belong to, as a UUID. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** A pidfd of this very process, undefined when it is gone or a zombie. */
export function pin(identity: ProcessIdentity): Fd | undefined {
  const result = trySyscall("pidfd_open", identity.pid, 0);
  if (NO_PROCESS.has(-result)) return undefined;
  if (result < 0) throw new SyscallError("pidfd_open", -result, `process ${identity.pid}`);
  const pidfd = new Fd(result);
  if (orClosed(pidfd, () => isAlive(identity))) return pidfd;
  pidfd.close();
  return undefined;
}

/** A pidfd is readable from the moment the last thread has exited. */
function hasExited(pidfd: Fd): boolean {
  return isReady(pidfd.number, POLLIN);
}

/** proc_pid_stat(5); the name in parentheses may hold anything, so fields are counted after the last one. */
function readStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readKernelFile(`/proc/${pid}/stat`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent, threads, startTicks] = [fields[0], fields[1], fields[17], fields[19]];
  if (state === undefined || startTicks === undefined) return undefined;
  // A main thread that has left others running shows as Z too, but is still counted beside them.
  const isRunning = (state !== "Z" && state !== "X") || Number(threads) > 1;
  return { pid, parent: Number(parent), startTicks, isRunning };
}

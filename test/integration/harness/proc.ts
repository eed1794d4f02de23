// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Ids of all processes of the machine. */
export function allPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Text of a file, or the target of a link; empty when the process is gone or the file is not there. */
export function procText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

export function procLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

export type NamespaceKind = "cgroup" | "ipc" | "mnt" | "net" | "pid" | "user" | "uts";

/** The inode of one namespace of a process, as in `4026531840`; empty when it is gone. */
export function namespaceOf(pid: number | "self", kind: NamespaceKind): string {
  return /\[(\d+)\]/.exec(procLink(`/proc/${pid}/ns/${kind}`))?.[1] ?? "";
}

/** One line of /proc/PID/status, without its name. */
export function statusField(pid: number, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(procText(`/proc/${pid}/status`))?.[1] ?? "";
}

export function parentOf(pid: number): number {
  return Number(statusField(pid, "PPid"));
}

export function childrenOf(pid: number): number[] {
  return allPids().filter((candidate) => parentOf(candidate) === pid);
}

export function isAlive(pid: number): boolean {
  const state = statusField(pid, "State");
  return state !== "" && !state.startsWith("Z") && !state.startsWith("X");
}

/** User and system time so far, in clock ticks of 10 ms (proc_pid_stat(5), fields 14 and 15). */
export function cpuTicks(pid: number): number {
  const fields = procText(`/proc/${pid}/stat`).split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

/** Fields of /proc/PID/smaps_rollup in bytes, as `Pss`, `Private_Dirty`. */
export function memoryOf(pid: number): Readonly<Record<string, number>> {
  const text = procText(`/proc/${pid}/smaps_rollup`);
  const lines = [...text.matchAll(/^(\w+):\s+(\d+) kB$/gm)];
  return Object.fromEntries(lines.map((match) => [match[1]!, Number(match[2]) * 1024]));
}

/** The most memory that a process has had so far: VmHWM of proc_pid_status(5), in bytes. */
export function memoryPeakOf(pid: number): number {
  return Number.parseInt(statusField(pid, "VmHWM"), 10) * 1024;
}

// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const MAX_DESCRIPTORS = 4096;
const MAX_THREADS = 256;

/** What /proc tells of a process (proc(5)); undefined where there is none. */
export interface ProcessView {
  readonly pid: number;
  readonly commandLine: readonly string[];
  /** Lines of /proc/PID/status, by name. */
  readonly status: Readonly<Record<string, string>>;
  readonly limits: readonly string[];
  readonly cgroups: readonly string[];
  readonly children: readonly number[];
  /** What each descriptor is of, as in `socket:[1234]`. */
  readonly descriptors: Readonly<Record<string, string>>;
  readonly threads: readonly ThreadView[];
}

export interface ThreadView {
  readonly id: number;
  readonly name: string;
  /** Where in the kernel it waits. */
  readonly waitsIn: string;
  /** Number and arguments of its system call, or `running`. */
  readonly systemCall: string;
  readonly kernelStack: readonly string[];
}

export function viewProcess(pid: number): ProcessView | undefined {
  const directory = `/proc/${pid}`;
  const status = text(`${directory}/status`);
  if (status === "") return undefined;
  return {
    pid,
    commandLine: text(`${directory}/cmdline`).split("\0").slice(0, -1),
    status: Object.fromEntries(
      lines(status).map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]),
    ),
    limits: lines(text(`${directory}/limits`)),
    cgroups: lines(text(`${directory}/cgroup`)),
    children: childrenOf(pid),
    descriptors: Object.fromEntries(
      names(`${directory}/fd`)
        .slice(0, MAX_DESCRIPTORS)
        .map((fd) => [fd, link(`${directory}/fd/${fd}`)]),
    ),
    threads: names(`${directory}/task`)
      .slice(0, MAX_THREADS)
      .map((id) => viewThread(pid, id)),
  };
}

function viewThread(pid: number, id: string): ThreadView {
  const directory = `/proc/${pid}/task/${id}`;
  return {
    id: Number(id),
    name: text(`${directory}/comm`).trim(),
    waitsIn: text(`${directory}/wchan`),
    systemCall: text(`${directory}/syscall`).trim(),
    kernelStack: lines(text(`${directory}/stack`)),
  };
}

function childrenOf(pid: number): number[] {
  const ofThreads = names(`/proc/${pid}/task`).map((id) => text(`/proc/${pid}/task/${id}/children`));
  return ofThreads.join(" ").split(" ").filter(Boolean).map(Number);
}

/** The process that holds a lock of flock(2) on the file `path`, as proc_locks(5) has it. */
export function lockHolder(path: string, inode: number): number | undefined {
  const pids = lines(text("/proc/locks")).flatMap((line) => {
    const [, pid, lockedInode] = /FLOCK +\S+ +\S+ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    return Number(lockedInode) === inode ? [Number(pid)] : [];
  });
  // Another file system may have the same number.
  return pids.find((pid) => names(`/proc/${pid}/fd`).some((fd) => link(`/proc/${pid}/fd/${fd}`) === path));
}

/** Lines of a text, without empty ones. */
export function lines(content: string): string[] {
  return content.split("\n").filter((line) => line !== "");
}

/** The text of a file of /proc or /sys; empty where it is gone or may not be read. */
export function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "gone";
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readlinkSync } from "node:fs";
import { procText } from "../linux/proc-file.ts";
import { childrenOf } from "../linux/process-tree.ts";

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
  const status = procText(`${directory}/status`);
  if (status === "") return undefined;
  return {
    pid,
    commandLine: procText(`${directory}/cmdline`).split("\0").slice(0, -1),
    status: Object.fromEntries(
      lines(status).map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]),
    ),
    limits: lines(procText(`${directory}/limits`)),
    cgroups: lines(procText(`${directory}/cgroup`)),
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
    name: procText(`${directory}/comm`).trim(),
    waitsIn: procText(`${directory}/wchan`),
    systemCall: procText(`${directory}/syscall`).trim(),
    kernelStack: lines(procText(`${directory}/stack`)),
  };
}

/** The process that holds a lock of flock(2) on the file `path`, as proc_locks(5) has it. */
export function lockHolder(path: string, inode: number): number | undefined {
  const pids = lines(procText("/proc/locks")).flatMap((line) => {
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

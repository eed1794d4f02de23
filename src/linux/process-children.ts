// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { readKernelFile } from "./proc-file.ts";
import { identify, type ProcessIdentity } from "./process.ts";

/*
 * Who is whose child, of all processes at once. /proc/PID/task/TID/children is quicker for one, but leaves some out
 * while others end (proc(5)); here none may be.
 */

/** The numbers of all processes of the machine by that of their parent. */
export type Children = ReadonlyMap<number, readonly number[]>;

/** Read once for all pods: it is a file for each process. */
export function readChildren(): Children {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    const known = children.get(parent);
    if (known === undefined) children.set(parent, [Number(name)]);
    else known.push(Number(name));
  }
  return children;
}

/** The children of a process that are still its own, but for those with the numbers `except`. */
export function childrenAmong(
  children: Children,
  { pid: parent }: ProcessIdentity,
  except: ReadonlySet<number | undefined> = new Set(),
): ProcessIdentity[] {
  return (children.get(parent) ?? [])
    .filter((pid) => !except.has(pid))
    .map(identify)
    .filter((identity) => identity !== undefined)
    .filter(({ pid }) => parentOf(pid) === parent);
}

/** proc_pid_stat(5): the name in parentheses may hold anything; state and parent come after the last one. 0 for who has ended. */
function parentOf(pid: number): number {
  try {
    const stat = readKernelFile(`/proc/${pid}/stat`);
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ", 2)[1] ?? 0);
  } catch {
    return 0;
  }
}

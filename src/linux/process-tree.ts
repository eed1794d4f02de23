// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import { SIGNAL } from "./abi/signal.ts";
import { identify, isAlive, type ProcessIdentity, signal } from "./process.ts";

// A process that forks faster than it is killed is left to its cgroup's pids limit.
const LARGEST_TREE = 10_000;

/**
 * Kills `root` and all its descendants. Each is stopped before its children are looked for, so that
 * it cannot fork behind the look, and all are killed at the end.
 */
export function killTree(root: ProcessIdentity): void {
  const found = new Map<number, ProcessIdentity>([[root.pid, root]]);
  const pending = [root];
  for (let round = 0; pending.length > 0 && round < LARGEST_TREE; round++) {
    const parent = pending.pop() as ProcessIdentity;
    if (!signal(parent, SIGNAL.SIGSTOP)) continue;
    for (const pid of childrenOf(parent.pid)) {
      const child = identify(pid);
      if (child === undefined || found.has(pid)) continue;
      found.set(pid, child);
      pending.push(child);
    }
  }
  for (const process of found.values()) if (isAlive(process)) signal(process, SIGNAL.SIGKILL);
}

/** The children of every thread of `pid`; /proc/PID/task/TID/children of proc(5). */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    // The process has ended meanwhile.
    return [];
  }
}

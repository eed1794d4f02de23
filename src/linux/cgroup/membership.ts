// SPDX-License-Identifier: Apache-2.0
import { procText } from "../proc-file.ts";

/**
 * The path of a process's cgroup in the hierarchy with the pids controller, or in the only one (cgroups(7)); none for
 * one that has ended.
 */
export function cgroupOf(pid: number): string[] {
  const lines = linesOf(pid);
  const found =
    lines.find((match) => match?.[1]?.split(",").includes("pids")) ??
    lines.find((match) => match?.[1] === "");
  return found?.[2] === undefined ? [] : [found[2]];
}

/** The path of a process's cgroup in the cgroup2 hierarchy; undefined for one that has ended, or is in its root. */
export function unifiedCgroupOf(pid: number): string | undefined {
  return linesOf(pid).find((match) => match?.[1] === "")?.[2];
}

function linesOf(pid: number): (RegExpExecArray | null)[] {
  return procText(`/proc/${pid}/cgroup`)
    .split("\n")
    .map((line) => /^[0-9]+:([^:]*):(\/.+)$/.exec(line));
}

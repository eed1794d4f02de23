// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { procText } from "./proc.ts";

const mountPoint = "/sys/fs/cgroup";
/** Whether the controllers are in the one hierarchy of cgroup v2. */
export const isV2 = existsSync(join(mountPoint, "cgroup.controllers"));

/** The directory of the cgroup that process `pid` is in; `cgroup2` for the hierarchy without controllers. */
export function cgroupDirectory(pid: number, controller: string): string {
  const unified = isV2 ? mountPoint : join(mountPoint, "unified");
  for (const line of procText(`/proc/${pid}/cgroup`).trim().split("\n")) {
    const [, names = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names === "" && (isV2 || controller === "cgroup2")) return join(unified, path);
    if (names.split(",").includes(controller)) return join(mountPoint, controller, path);
  }
  throw new Error(`process ${pid} is in no cgroup of ${controller}`);
}

/** The text of a file of the cgroup that a process is in, by its name in each version. */
export function cgroupText(pid: number, controller: string, v1: string, v2: string): string {
  return readFileSync(join(cgroupDirectory(pid, controller), isV2 ? v2 : v1), "utf8").trim();
}

/** One row of a file of `name value` lines. */
export function cgroupRow(pid: number, controller: string, v1: string, v2: string): bigint {
  const [file, row] = (isV2 ? v2 : v1).split(" ") as [string, string];
  const text = readFileSync(join(cgroupDirectory(pid, controller), file), "utf8");
  const value = new RegExp(`^${row} (\\d+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`${file} has no row ${row}: ${text}`);
  return BigInt(value);
}

/** CPU time used by the cgroup of a process, or by one that a path leads to from there. */
export function cpuUsageNs(pid: number, path = "."): bigint {
  const directory = join(cgroupDirectory(pid, "cpuacct"), path);
  if (!isV2) return BigInt(readFileSync(join(directory, "cpuacct.usage"), "utf8"));
  const usage = /^usage_usec (\d+)$/m.exec(readFileSync(join(directory, "cpu.stat"), "utf8"))?.[1];
  return BigInt(usage ?? 0) * 1000n;
}

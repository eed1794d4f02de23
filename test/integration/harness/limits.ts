// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { weightOfShares } from "../../../src/linux/cgroup/cpu.ts";
import { detectCgroups } from "../../../src/linux/cgroup/host.ts";
import { procText } from "./proc.ts";

const host = process.getuid?.() === 0 ? detectCgroups() : undefined;
export const isV2 = host?.version === "v2";

/** The directory of a process's cgroup for a controller, as the kernel tells it. */
export function cgroupOf(pid: number, controller: string): string {
  const lines = procText(`/proc/${pid}/cgroup`).trim().split("\n");
  const line = lines.find((text) =>
    isV2 ? text.startsWith("0::") : text.split(":")[1]?.split(",").includes(controller),
  );
  const mountPoint = isV2
    ? host?.unified
    : host?.hierarchies.find((h) => h.controllers.includes(controller))?.mountPoint;
  return `${mountPoint}${line?.split(":").slice(2).join(":")}`;
}

/** What the kernel has in force for a cgroup directory of each controller, in the terms of the interface. */
export function limitsIn(directory: (controller: string) => string) {
  const read = (controller: string, v1: string, v2: string) =>
    readFileSync(`${directory(controller)}/${isV2 ? v2 : v1}`, "utf8").trim();
  const bytes = (text: string) => (text === "max" || Number(text) > 2 ** 60 ? -1 : Number(text));
  const memory = bytes(read("memory", "memory.limit_in_bytes", "memory.max"));
  const swap = bytes(read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"));
  const [v2Quota = "", v2Period = ""] = isV2 ? read("cpu", "", "cpu.max").split(" ") : [];
  return {
    weight: isV2
      ? Number(read("cpu", "", "cpu.weight"))
      : weightOfShares(Number(read("cpu", "cpu.shares", ""))),
    quota: isV2 ? bytes(v2Quota) : Number(read("cpu", "cpu.cfs_quota_us", "")),
    period: isV2 ? Number(v2Period) : Number(read("cpu", "cpu.cfs_period_us", "")),
    memory,
    total: isV2 && swap !== -1 ? memory + swap : swap,
    cpus: read("cpuset", "cpuset.cpus", "cpuset.cpus"),
  };
}

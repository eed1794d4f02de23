// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

/** The machine in one line, as in `2 × AMD EPYC 7B13, 24 GiB, Linux 6.18.5, cgroup v1`. */
export function describeMachine(): string {
  const processors = cpus();
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  const cgroup = isUnified() ? "cgroup v2" : "cgroup v1";
  return `${processors.length} × ${processors[0]!.model.trim()}, ${memoryGib} GiB, Linux ${release()}, ${cgroup}`;
}

/** Whether the version 2 hierarchy is the only one. */
function isUnified(): boolean {
  return /^cgroup2 \/sys\/fs\/cgroup cgroup2/m.test(readFileSync("/proc/mounts", "utf8"));
}

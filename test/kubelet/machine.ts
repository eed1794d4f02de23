// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The kernel settings of the machine that a kubelet changes at its start, by their files, as they are. */
export function takeSysctls(): Map<string, string> {
  const names = ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"];
  const keys = ["kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"];
  return new Map(
    [...names, ...keys].map((name) => [`/proc/sys/${name}`, readFileSync(`/proc/sys/${name}`, "utf8")]),
  );
}

function hierarchies(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4]!);
}

/** Makes the cgroup that a kubelet is to keep its pods below, in every hierarchy. */
export function makeCgroups(name: string): void {
  for (const mount of hierarchies()) {
    const dir = join(mount, name);
    mkdirSync(dir, { recursive: true });
    if (!mount.endsWith("cpuset")) continue;
    for (const file of ["cpuset.cpus", "cpuset.mems"])
      writeFileSync(join(dir, file), readFileSync(join(mount, file), "utf8"));
  }
}

/** Removes it with what is left in it, which must be no process. */
export function removeCgroups(name: string): void {
  const remove = (dir: string) => {
    for (const entry of readdirSync(dir, { withFileTypes: true }))
      if (entry.isDirectory()) remove(join(dir, entry.name));
    rmdirSync(dir);
  };
  for (const mount of hierarchies()) remove(join(mount, name));
}

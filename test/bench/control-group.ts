// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isV2 } from "../integration/harness/cgroup-files.ts";
import { eventually } from "../integration/harness/eventually.ts";

const mountPoint = "/sys/fs/cgroup";

/**
 * A control group in every hierarchy that holds all of one peer: its daemon, what that starts, and its pods. What it
 * has used of the CPU is therefore counted alike for all peers, also of processes that have ended; what the kernel's
 * own threads do later on nobody's account is in none of them.
 */
export interface ControlGroup {
  /** As a file that is executed: it joins the group and becomes the program, with the arguments that it is given. */
  launcher(dir: string, program: readonly string[]): string;
  /** Makes a group for a pod, as a kubelet does, and answers its path. */
  makePod(name: string): string;
  /** Takes it away, once its last process has gone. */
  removePod(name: string): Promise<void>;
  /** User and system time so far, in milliseconds. */
  cpuMs(): number;
  /** All processes in it and below it. */
  pids(): number[];
  remove(): Promise<void>;
}

export function newControlGroup(name: string): ControlGroup {
  const path = `/podrt-bench-${process.pid}-${name}`;
  const dirs = isV2 ? [mountPoint] : hierarchies();
  const accounting = join(isV2 ? mountPoint : join(mountPoint, "cpuacct"), path);
  for (const dir of dirs) {
    makeGroup(join(dir, path));
    makeGroup(join(dir, path, "daemon"));
    makeGroup(join(dir, path, "pods"));
  }
  const podPath = (pod: string) => `${path}/pods/${pod}`;
  return {
    launcher(dir, program) {
      const file = join(dir, `in-group-${name}`);
      const words = program.map((word) => `'${word}'`).join(" ");
      const join_ = `echo $$ >${join(accounting, "daemon/cgroup.procs")}`;
      writeFileSync(file, `#!/bin/sh\n${join_} && exec ${words} "$@"\n`, { mode: 0o755 });
      return file;
    },
    makePod(pod) {
      for (const dir of dirs) makeGroup(join(dir, podPath(pod)));
      return podPath(pod);
    },
    removePod: (pod) => removeEverywhere(dirs, podPath(pod)),
    cpuMs() {
      if (!isV2) return Number(readFileSync(join(accounting, "cpuacct.usage"), "utf8")) / 1e6;
      const usage = /^usage_usec (\d+)$/m.exec(readFileSync(join(accounting, "cpu.stat"), "utf8"))?.[1];
      return Number(usage) / 1e3;
    },
    pids: () => pidsBelow(accounting),
    remove: () => removeEverywhere(dirs, path),
  };
}

/** The hierarchies of version 1; the one of version 2 beside them has no controllers, and is left to the runtimes. */
function hierarchies(): string[] {
  return readdirSync(mountPoint, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(mountPoint, name));
}

/** A group of cpusets takes no process before it has what its parent has. */
function makeGroup(dir: string): void {
  mkdirSync(dir, { recursive: true });
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const inherited = textOf(join(dir, "..", file));
    if (inherited !== "" && textOf(join(dir, file)) === "") writeFileSync(join(dir, file), inherited);
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function groupsBelow(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(dir, name));
  } catch {
    return [];
  }
}

function pidsBelow(dir: string): number[] {
  const own = textOf(join(dir, "cgroup.procs")).split("\n").filter(Boolean).map(Number);
  return [...own, ...groupsBelow(dir).flatMap(pidsBelow)];
}

async function removeEverywhere(dirs: readonly string[], path: string): Promise<void> {
  await eventually(`the control group ${path} is gone`, () =>
    dirs.every((dir) => isRemoved(join(dir, path))),
  );
}

function isRemoved(dir: string): boolean {
  for (const below of groupsBelow(dir)) isRemoved(below);
  try {
    rmdirSync(dir);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
  return true;
}

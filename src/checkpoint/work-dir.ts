// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Runtime } from "../container/runtime.ts";
import { newId } from "../lib/id.ts";
import { identify, type ProcessIdentity } from "../linux/process.ts";

/** A directory for one piece of work, gone with it; root's alone. */
export interface WorkDir extends AsyncDisposable {
  readonly path: string;
}

export function newWorkDir(runtime: Runtime): WorkDir {
  const path = join(runtime.paths.checkpointsDir, newId());
  mkdirSync(path, { mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** What a daemon that died has left: directories, by path. */
export function leftWorkDirs(runtime: Runtime): string[] {
  return readdirSync(runtime.paths.checkpointsDir).map((name) => join(runtime.paths.checkpointsDir, name));
}

/**
 * The processes that work in one of `directories`, or were told to by their command lines. One that is just being
 * executed has no command line yet, but its working directory.
 */
export function processesIn(directories: readonly string[]): ProcessIdentity[] {
  if (directories.length === 0) return [];
  const paths = new Set(directories);
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0");
      if (![...words, readlinkSync(`/proc/${name}/cwd`)].some((word) => paths.has(word))) return [];
      return identify(Number(name)) ?? [];
    } catch {
      // It has ended since the directory was read.
      return [];
    }
  });
}

// SPDX-License-Identifier: Apache-2.0
import { readdirSync, statSync } from "node:fs";
import { FailedPreconditionError, InvalidArgumentError } from "../../errors.ts";
import { sleep } from "../../lib/deadline.ts";
import { ERRNO } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR } from "../abi/fcntl.ts";
import { isErrno, SyscallError, trySyscall } from "../syscall.ts";
import { tryRead } from "./files.ts";

const DIRECTORY_MODE = 0o755;
const MAX_DEPTH = 32;
export const MAX_NAME_BYTES = 255;
const BUSY_PAUSE_MS = 5;

/** The names in the path of a cgroup, which is absolute within the hierarchy: `/pods/x` to `pods`, `x`. */
export function pathNames(path: string): string[] {
  const [root, ...names] = path.split("/");
  const isName = (name: string) =>
    name !== "" &&
    name !== "." &&
    name !== ".." &&
    !/[\0\n]/.test(name) &&
    Buffer.byteLength(name) <= MAX_NAME_BYTES;
  if (root !== "" || names.length === 0 || names.length > MAX_DEPTH || !names.every(isName)) {
    throw new InvalidArgumentError(
      "cgroup path",
      `must be absolute, not the root and without empty or dotted parts, but is ${JSON.stringify(path)}`,
    );
  }
  return names;
}

/** Makes one directory; false when it was there. */
export function makeDirectory(path: string): boolean {
  const result = trySyscall("mkdirat", AT_FDCWD, path, DIRECTORY_MODE);
  if (result === -ERRNO.EEXIST) return false;
  if (result < 0) throw new SyscallError("mkdirat", -result, path);
  return true;
}

/**
 * Makes the innermost of `levels`, directories each in the one before, and those above that are missing. What it makes
 * is added to `made`, outermost first, also when it then fails.
 */
export function makeDirectories(levels: readonly string[], made: string[]): void {
  const path = levels.at(-1) as string;
  try {
    if (makeDirectory(path)) made.push(path);
  } catch (error) {
    // Parents are there most of the time, so they are not asked for first.
    if (!isErrno(error, "ENOENT") || levels.length === 1) throw error;
    makeDirectories(levels.slice(0, -1), made);
    if (makeDirectory(path)) made.push(path);
  }
}

/** The directory and all below it, deepest first; empty when it is gone. */
export function directoriesBelow(path: string, depth = 0): string[] {
  if (depth > MAX_DEPTH)
    throw new FailedPreconditionError(`cgroup ${path} is nested deeper than ${MAX_DEPTH}`);
  const entries = childDirectories(path);
  if (entries === undefined) return [];
  return [...entries.flatMap((name) => directoriesBelow(`${path}/${name}`, depth + 1)), path];
}

/** The names of the directories in a cgroup's directory; undefined when that is gone. */
export function childDirectories(path: string): string[] | undefined {
  try {
    return listDirectories(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENODEV") return undefined;
    throw error;
  }
}

function listDirectories(path: string): string[] {
  // Of its links two are its own and each directory inside is one: that spares most listings. Some file
  // systems count no links, and give directories one.
  if (statSync(path).nlink === 2) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}

/** The processes in a directory and below, as `file` (cgroup.procs) of each lists them. */
export function processesBelow(path: string): number[] {
  const pids = directoriesBelow(path).flatMap((directory) =>
    (tryRead(`${directory}/cgroup.procs`) ?? "").split("\n").map(Number),
  );
  // A process of another PID namespace than ours has the number 0 here.
  return [...new Set(pids)].filter((pid) => pid > 0);
}

/**
 * Removes a directory with all below it. The kernel calls a cgroup busy for a moment after its last
 * process has gone, so that is waited for until `deadline` (performance.now()).
 */
export async function removeTree(path: string, deadline: number): Promise<void> {
  for (;;) {
    // Most have nothing below them: those are not looked through.
    if (removeDirectory(path) || directoriesBelow(path).every(removeDirectory)) return;
    if (performance.now() >= deadline) break;
    await sleep(BUSY_PAUSE_MS);
  }
  const pids = processesBelow(path);
  throw new FailedPreconditionError(
    pids.length === 0
      ? `cannot remove cgroup ${path}: the kernel still reports it as busy`
      : `cannot remove cgroup ${path}: processes ${pids.slice(0, 10).join(", ")} are still in it`,
  );
}

/** Removes one directory; false while it is busy, or got a new directory since it was listed. */
export function removeDirectory(path: string): boolean {
  const result = trySyscall("unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  if (result >= 0 || result === -ERRNO.ENOENT || result === -ERRNO.ENODEV) return true;
  if (result === -ERRNO.EBUSY || result === -ERRNO.ENOTEMPTY) return false;
  throw new SyscallError("unlinkat", -result, path);
}

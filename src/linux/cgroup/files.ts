// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import { open as openInBackground } from "node:fs/promises";
import { FailedPreconditionError, InternalError, InvalidArgumentError, NotFoundError } from "../../errors.ts";
import { ERRNO, type ErrnoName, errnoName } from "../abi/errno.ts";
import { O_TRUNC, O_WRONLY } from "../abi/fcntl.ts";
import { type Fd, open } from "../fd.ts";
import { SyscallError, trySyscall } from "../syscall.ts";

const encoder = new TextEncoder();

/** Writes a cgroup file in one write(2), as the kernel wants it; 0, or the errno that stood in the way. */
export function tryWrite(file: string, value: string): number {
  try {
    using fd = open(file, O_WRONLY | O_TRUNC);
    return writeValue(fd, value);
  } catch (error) {
    if (error instanceof SyscallError) return error.errno;
    throw error;
  }
}

function writeValue({ number }: Fd, value: string): number {
  const bytes = encoder.encode(`${value}\n`);
  return Math.max(0, -trySyscall("write", number, bytes, bytes.length));
}

/**
 * As `tryWrite`, on another thread: lowering a memory limit makes the kernel reclaim memory within the
 * write, which takes as long as it takes.
 */
export async function tryWriteInBackground(file: string, value: string): Promise<number> {
  try {
    await using handle = await openInBackground(file, O_WRONLY | O_TRUNC);
    await handle.write(`${value}\n`);
    return 0;
  } catch (error) {
    const errno = ERRNO[(error as NodeJS.ErrnoException).code as ErrnoName];
    if (errno === undefined) throw error;
    return errno;
  }
}

/** Writes a cgroup file, or throws an error that names the file, the value and what to do. */
export function write(file: string, value: string): void {
  writeEach(file, [value]);
}

/** The same with several values, each in a write(2) of its own. */
export function writeEach(file: string, values: readonly string[]): void {
  using fd = openForValue(file, values[0] ?? "");
  for (const value of values) {
    const errno = writeValue(fd, value);
    if (errno !== 0) throw writeFailure(file, value, errno);
  }
}

function openForValue(file: string, value: string): Fd {
  try {
    return open(file, O_WRONLY | O_TRUNC);
  } catch (error) {
    throw error instanceof SyscallError ? writeFailure(file, value, error.errno) : error;
  }
}

const HINTS: Readonly<Record<string, string>> = {
  ENODEV: "the cgroup has been removed",
  ENOENT: "the kernel has no such file here: is its controller compiled in and enabled?",
  EBUSY:
    "the kernel reports the cgroup as busy: more is in use than the new limit, or processes are in the way",
  EINVAL: "the kernel refuses this value",
  ERANGE: "the kernel refuses this value",
  ENOSPC: "the set would be empty or beyond the parent's",
  EACCES: "the parent's value does not allow it",
  EPERM: "podrt's own rights or the parent's value do not allow it",
};

/** One sentence on a write that failed. */
export function writeFailure(file: string, value: string, errno: number): Error {
  const code = errnoName(errno);
  const hint = HINTS[code];
  const problem = `cannot write ${JSON.stringify(value)} to ${file}: ${code}`;
  const message = hint === undefined ? problem : `${problem} (${hint})`;
  if (code === "EINVAL" || code === "ERANGE") return new InvalidArgumentError("", message);
  return hint === undefined ? new InternalError(message) : new FailedPreconditionError(message);
}

/** The trimmed text of a cgroup file; NotFoundError when it, or the whole cgroup, is gone. */
export function read(file: string): string {
  const text = tryRead(file);
  if (text === undefined) throw new NotFoundError(`cannot read ${file}: there is no such cgroup or file`);
  return text;
}

/** The trimmed text of a cgroup file; undefined when it does not exist. */
export function tryRead(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // ENODEV: the cgroup was removed while the file was open.
    if (code === "ENOENT" || code === "ENODEV") return undefined;
    throw error;
  }
}

export function exists(file: string): boolean {
  return existsSync(file);
}

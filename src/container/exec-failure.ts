// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { LaunchError } from "../launch/launch-error.ts";
import { ERRNO, type ErrnoName } from "../linux/abi/errno.ts";
import { type Fd, setNonBlocking } from "../linux/fd.ts";
import { trySyscall } from "../linux/syscall.ts";

const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
// Fits into an empty pipe and an empty terminal, so that nobody has to read it first.
const LONGEST_SENTENCE_BYTES = 2048;

/** What execve(2) says of a file that is there but cannot be executed, or not with these arguments. */
const UNFIT: readonly ErrnoName[] = [
  "E2BIG",
  "EACCES",
  "EINVAL",
  "EISDIR",
  "ELIBBAD",
  "ELOOP",
  "ENAMETOOLONG",
  "ENOEXEC",
  "ENOTDIR",
  "EPERM",
  "ETXTBSY",
];

/**
 * The exit code that a shell gives to a command that could not be executed: 127 when it was not found,
 * 126 otherwise (POSIX, Shell Command Language, 2.8.2). Undefined for an error that is not the command's.
 */
export function commandFailure(error: unknown): number | undefined {
  if (!(error instanceof LaunchError) || error.call !== "execve") return undefined;
  if (error.errno === ERRNO.ENOENT) return NOT_FOUND;
  return UNFIT.some((name) => ERRNO[name] === error.errno) ? NOT_EXECUTABLE : undefined;
}

/** Writes why a command could not be executed to `stderr`, where the command itself would have. */
export function explain(error: unknown, stderr: Fd): void {
  const sentence = new TextEncoder().encode(`podrt: ${messageOf(error)}`);
  const line = [...sentence.subarray(0, LONGEST_SENTENCE_BYTES), 0x0a];
  setNonBlocking(stderr.number, true);
  trySyscall("write", stderr.number, Uint8Array.from(line), line.length);
}

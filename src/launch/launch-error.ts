// SPDX-License-Identifier: Apache-2.0
import { InternalError } from "../errors.ts";
import { errnoName } from "../linux/abi/errno.ts";

const MEANINGS: Readonly<Record<string, string>> = {
  E2BIG: "arguments and environment are too long",
  EACCES: "permission denied",
  EAGAIN: "a limit on processes was hit",
  EBUSY: "in use",
  EINVAL: "the kernel does not accept this",
  EIO: "input/output error",
  ELOOP: "too many links, or a link that is not allowed here",
  ENOENT: "no such file or directory",
  ENOEXEC: "not an executable for this machine",
  ENOMEM: "out of memory",
  ENOSPC: "no space left",
  ENOTDIR: "not a directory",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
  ESRCH: "the process is gone",
  EXDEV: "another mount is in the way",
};

/** What somebody who named a program should look at. */
function adviceFor(step: string, errno: string): string {
  if (!/(^|: )execute /.test(step)) return "";
  if (errno === "ENOENT") return "; check the name: the image has no such program, or not its interpreter";
  return errno === "EACCES" ? "; it is no file that may be executed" : "";
}

/** A launch program that stopped: at which step, and with which errno. */
export class LaunchError extends InternalError {
  readonly step: string;
  readonly errno: number;
  /** 0 when the first table failed, 1 and more for the children's. */
  readonly depth: number;
  /** The system call that failed, as `execve`. */
  readonly call: string | undefined;

  constructor(step: string, errno: number, depth: number, call?: string) {
    const name = errnoName(errno);
    const meaning = MEANINGS[name];
    super(`${step}: ${name}${meaning === undefined ? "" : ` (${meaning})`}${adviceFor(step, name)}`);
    this.step = step;
    this.errno = errno;
    this.depth = depth;
    this.call = call;
  }
}

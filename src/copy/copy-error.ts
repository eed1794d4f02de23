// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import { entryError } from "../image/apply-place.ts";
import { quoteName } from "../image/tar-entry.ts";
import { SyscallError } from "../linux/syscall.ts";

const REASONS: Readonly<Record<string, string>> = {
  EROFS: "the file system is read-only",
  EBUSY: "something is mounted there",
  EACCES: "permission is denied",
  EPERM: "it is not permitted; the file there may be immutable",
  EOVERFLOW: "its volume maps users, and does not have root of this machine",
  ELOOP: "a directory of its path is a symbolic link, which is not followed",
  ENOTDIR: "something in its path is no directory",
  EISDIR: "a directory is there",
};

/** Does what is to be done for the entry `path`; the kernel's refusals say so in words. */
export function forEntry(path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    const why = error instanceof SyscallError ? REASONS[error.code] : undefined;
    if (why === undefined) throw entryError(path, error);
    throw new FailedPreconditionError(`${quoteName(path)} cannot be written: ${why}`, { cause: error });
  }
}

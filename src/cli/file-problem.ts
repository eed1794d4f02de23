// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, messageOf } from "../errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "its directory is not there; make it first",
  ENOTDIR: "something in its path is no directory",
  EISDIR: "a directory is there; name a file in it",
  EEXIST: "something else is there already",
  EACCES: "you may not write there; run this as root, or name another place",
  EROFS: "the file system is read-only; name another place",
  ENOSPC: "the disk is full",
};

/** That `what`, as in `the picture`, cannot be written to a path that a person named, and what to do. */
export function cannotWrite(what: string, path: string, error: unknown): FailedPreconditionError {
  const why = REASONS[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error);
  return new FailedPreconditionError(`cannot write ${what} to ${path}: ${why}`, { cause: error });
}

// SPDX-License-Identifier: Apache-2.0
import { posix } from "node:path";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../linux/abi/fcntl.ts";
import type { Fd } from "../linux/fd.ts";
import { openInRoot } from "../linux/path.ts";
import { isErrno, type SyscallError } from "../linux/syscall.ts";

/** What an archive of the content of a directory, without the directory's own name, calls its top. */
export const CONTENT = ".";

/** What a copy of `path` is called in its archive: its last part; CONTENT for `/` and for a path that ends with `/.`. */
export function topNameOf(path: string): string {
  const name = posix.basename(path);
  return name === "" || name === "." || name === ".." || path.endsWith("/.") ? CONTENT : name;
}

/** Where a copy goes: into `directory`, as `name` where that is set, else under the name that it has. */
export interface CopyTarget extends Disposable {
  /** Open with O_PATH. */
  readonly directory: Fd;
  readonly name: string | undefined;
}

/**
 * Opens what is to be copied below the directory `rootFd`, which is the root of every link (O_PATH). A link at the
 * end of `path` is opened itself unless `followLink`, or a slash at the end, wants what it names. `shown` is what messages call the path.
 */
export function openSource(rootFd: number, path: string, followLink: boolean, shown: string): Fd {
  const follows = followLink || /\/\.?$/.test(path);
  try {
    return openInRoot(rootFd, absolute(path), O_PATH | (follows ? 0 : O_NOFOLLOW));
  } catch (error) {
    throw refusal(error, shown);
  }
}

/**
 * Finds where a copy to `path` below the directory `rootFd` goes: into it where it is a directory, else beside its
 * neighbours under its last part. NotFoundError where there is no directory for it.
 */
export function openTarget(rootFd: number, path: string, shown: string): CopyTarget {
  const found = tryOpenDirectory(rootFd, path, shown);
  if (found !== undefined) return target(found, undefined);
  const name = posix.basename(path);
  if (/\/\.{0,2}$/.test(path) || name === "" || name === "." || name === "..") {
    throw new NotFoundError(`there is no directory ${shown} to copy into; make it first`);
  }
  const parent = tryOpenDirectory(rootFd, posix.dirname(absolute(path)), shown);
  if (parent !== undefined) return target(parent, name);
  throw new NotFoundError(`there is no directory for ${shown} to be put into; make it first`);
}

function target(directory: Fd, name: string | undefined): CopyTarget {
  return { directory, name, [Symbol.dispose]: () => directory.close() };
}

function tryOpenDirectory(rootFd: number, path: string, shown: string): Fd | undefined {
  try {
    return openInRoot(rootFd, absolute(path), O_PATH | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw refusal(error, shown);
  }
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}

function refusal(error: unknown, shown: string): unknown {
  if (isErrno(error, "ENOENT", "ENOTDIR")) {
    return new NotFoundError(`there is no ${shown}`, { cause: error });
  }
  if (!isErrno(error, "ELOOP", "EACCES", "ENAMETOOLONG", "EINVAL")) return error;
  // RESOLVE_NO_MAGICLINKS says ELOOP, too.
  const { code } = error as SyscallError;
  const why = code === "ELOOP" ? "it leads through a link of /proc, or through links without end" : code;
  return new FailedPreconditionError(`${shown} cannot be opened: ${why}`, { cause: error });
}

// SPDX-License-Identifier: Apache-2.0
import { fsync, lstatSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { InvalidArgumentError, messageOf } from "../errors.ts";
import { newId } from "../lib/id.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  O_DIRECTORY,
  O_RDONLY,
  O_TMPFILE,
  O_WRONLY,
} from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

const sync = promisify(fsync);

/** A file that has no name until it is complete, so that nothing is left of one that is not. */
export interface OutputFile extends Disposable {
  readonly number: number;
  /** Gives the file its name, in place of a regular file that has it; content and name are then on disk. */
  publish(): Promise<void>;
}

/** Opens the file that is to be at `path`, root's alone; `field` names the path in errors. */
export function newOutputFile(path: string, field: string): OutputFile {
  const existing = lstatSync(path, { throwIfNoEntry: false });
  if (existing !== undefined && !existing.isFile()) {
    throw new InvalidArgumentError(field, `${path} exists and is no regular file: name another`);
  }
  const file = openUnnamed(dirname(path), field);
  return {
    get number() {
      return file.number;
    },
    async publish() {
      // Off this thread: it may be gigabytes.
      await sync(file.number);
      link(file, path);
      using directory = open(dirname(path), O_RDONLY | O_DIRECTORY);
      await sync(directory.number);
    },
    [Symbol.dispose]: () => file.close(),
  };
}

function openUnnamed(directory: string, field: string): Fd {
  try {
    return open(directory, O_TMPFILE | O_WRONLY, 0o600);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EROFS", "EOPNOTSUPP")) {
      throw new InvalidArgumentError(
        field,
        `no file can be made in ${directory}: ${messageOf(error)}; name a directory that exists on a disk that can be written to`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** A new name can be given at once; one that is taken goes over by way of another. */
function link(file: Fd, path: string): void {
  const linkAs = (name: string) =>
    syscall("linkat", AT_FDCWD, `/proc/self/fd/${file.number}`, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
  try {
    linkAs(path);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    const other = join(dirname(path), `.${basename(path).slice(0, 100)}.${newId().slice(0, 12)}`);
    linkAs(other);
    try {
      syscall("renameat2", AT_FDCWD, other, AT_FDCWD, path, 0);
    } catch (failure) {
      rmSync(other, { force: true });
      throw failure;
    }
  }
}

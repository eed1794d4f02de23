// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { join } from "node:path";

/** PATH of a program that is given none. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const ANY_EXECUTE = 0o111;

/** Whether a file is at `path` that somebody may execute. */
export function isExecutable(path: string): boolean {
  const status = statSync(path, { throwIfNoEntry: false });
  return status?.isFile() === true && (status.mode & ANY_EXECUTE) !== 0;
}

/** The executable of that name in the first directory that has one. */
export function findExecutable(directories: readonly string[], name: string): string | undefined {
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import { readSmallFile } from "../lib/small-file.ts";

const FILE_LIMIT_BYTES = 1 << 20;

/** A text file of an administrator's, whole; FailedPreconditionError that names it, undefined where there is none. */
export function readConfigurationFile(file: string): string | undefined {
  try {
    // Asked for in every Status: an error takes several times as long as this look.
    if (statSync(file, { throwIfNoEntry: false }) === undefined) return undefined;
    return readSmallFile(file, FILE_LIMIT_BYTES);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error instanceof FailedPreconditionError
      ? new FailedPreconditionError(`${file} ${messageOf(error)}`)
      : new FailedPreconditionError(`cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}

// SPDX-License-Identifier: Apache-2.0
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { FailedPreconditionError } from "../errors.ts";

/**
 * The text of a file that an administrator has written, or an error that says what else is there: to be told with
 * the path. Errors of node:fs are passed on.
 */
export function readSmallFile(path: string, limitBytes: number): string {
  // Without O_NONBLOCK a named pipe would keep the daemon waiting for its writer.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(file);
    if (!status.isFile()) throw new FailedPreconditionError("is no file");
    if (status.size > limitBytes) throw new FailedPreconditionError(`is larger than ${limitBytes} bytes`);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

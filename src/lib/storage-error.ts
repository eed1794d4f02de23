// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf, PodrtError, ResourceExhaustedError } from "../errors.ts";

/** What a failure of the disk means for the step `what`, as in `delete /var/lib/podrt/layers/7`. */
export function storageError(what: string, error: unknown): Error {
  const sentence = `cannot ${what}: ${messageOf(error)}`;
  return isDiskFull(error)
    ? new ResourceExhaustedError(`${sentence}; free some space or remove images`, { cause: error })
    : new InternalError(sentence, { cause: error });
}

/** Whether there was no room: on a disk, within a quota, or for SQLite. */
export function isDiskFull(error: unknown): boolean {
  return /\b(ENOSPC|EDQUOT)\b|database or disk is full/.test(messageOf(error));
}

/** Calls `work`, whose failures are the disk's unless they say otherwise themselves. */
export function orStorageError<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof PodrtError ? error : storageError(what, error);
  }
}

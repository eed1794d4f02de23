// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf, ResourceExhaustedError } from "../errors.ts";

/** What a failure of the disk means for the step `what`, as in `delete /var/lib/podrt/layers/7`. */
export function storageError(what: string, error: unknown): Error {
  const sentence = `cannot ${what}: ${messageOf(error)}`;
  return /\b(ENOSPC|EDQUOT)\b/.test(sentence)
    ? new ResourceExhaustedError(`${sentence}; free some space or remove images`, { cause: error })
    : new InternalError(sentence, { cause: error });
}

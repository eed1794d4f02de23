// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";

/** A reply may have 16 MiB altogether; what goes beyond is dropped, as clients expect. */
const OUTPUT_LIMIT_BYTES = 16 * 1024 * 1024 - 64 * 1024;
/** What each command may have however much the others have: more than a probe is read of. */
const OWN_BYTES = 64 * 1024;
/** What all commands under way may have beyond that: their number is as large as somebody's pods make it. */
const SHARED_LIMIT_BYTES = 64 * 1024 * 1024;

let sharedBytes = 0;

/** Where the output of one command is kept in memory; disposing it makes room for others. */
export interface OutputRoom extends Disposable {
  /**
   * How many of `bytes` more may be kept. A ResourceExhaustedError where others leave no room: then this command's
   * output makes room for theirs, and nothing more of it may be kept.
   */
  take(bytes: number): number;
}

export function newOutputRoom(): OutputRoom {
  let taken = 0;
  let shared = 0;
  let isClosed = false;
  const close = () => {
    isClosed = true;
    sharedBytes -= shared;
    shared = 0;
  };
  return {
    take(bytes) {
      const kept = Math.min(bytes, OUTPUT_LIMIT_BYTES - taken);
      const beyond = Math.max(0, taken + kept - OWN_BYTES) - shared;
      if (isClosed || sharedBytes + beyond > SHARED_LIMIT_BYTES) {
        close();
        throw new ResourceExhaustedError(
          `the output of all commands under way has more than ${SHARED_LIMIT_BYTES} bytes: run fewer with much output at a time`,
        );
      }
      taken += kept;
      shared += beyond;
      sharedBytes += beyond;
      return kept;
    },
    [Symbol.dispose]: close,
  };
}

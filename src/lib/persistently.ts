// SPDX-License-Identifier: Apache-2.0
import { sleep } from "./deadline.ts";

const STEP_MS = 100;
const LIMIT_MS = 10_000;

/**
 * Repeats `work` until it succeeds, with growing pauses of at most ten seconds: for what must be written down
 * sooner or later, however long the disk is full. `onFailure` hears of each failure.
 */
export async function persistently<T>(
  work: () => T | Promise<T>,
  onFailure: (error: unknown) => void,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      onFailure(error);
    }
    await sleep(Math.min(attempt * STEP_MS, LIMIT_MS));
  }
}

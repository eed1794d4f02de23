// SPDX-License-Identifier: Apache-2.0

/** The longest a timer can wait, 24.8 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Seconds of a request in milliseconds that a timer can wait; what is negative is 0. */
export function timeoutMs(seconds: bigint): number {
  return Math.min(Math.max(Number(seconds) * 1000, 0), MAX_TIMER_MS);
}

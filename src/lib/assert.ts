// SPDX-License-Identifier: Apache-2.0

/** Stops on a programmer's mistake; errors of operation are thrown as `PodrtError`s instead. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

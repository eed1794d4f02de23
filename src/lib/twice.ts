// SPDX-License-Identifier: Apache-2.0

/**
 * Runs `work`, and once more when it fails: what failed for want of memory or descriptors may succeed a moment later.
 * It must be fine with finding a part of itself done. The second error is the caller's.
 */
export async function twice<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch {
    return await work();
  }
}

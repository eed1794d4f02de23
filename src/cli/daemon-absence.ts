// SPDX-License-Identifier: Apache-2.0
import { isAbsent } from "./client.ts";

/** A daemon that restarts goes on with its pods, so its absence is waited out for so long. */
const ABSENCE_MS = 30_000;

/**
 * `look`, to be called again and again: undefined while the daemon is away, which becomes an error when that takes
 * longer than a restart would.
 */
export function ridingOutAbsence<T>(look: () => Promise<T>): () => Promise<T | undefined> {
  let sinceMs: number | undefined;
  return async () => {
    try {
      const result = await look();
      sinceMs = undefined;
      return result;
    } catch (error) {
      if (!isAbsent(error)) throw error;
      sinceMs ??= performance.now();
      if (performance.now() - sinceMs > ABSENCE_MS) throw error;
      return undefined;
    }
  };
}

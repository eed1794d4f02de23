// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 5 * 60 * 1000;

/** Work by key that is repeated, with growing pauses of five minutes at most, until it succeeds. */
export interface Releases {
  /** Does it now; a failure is thrown, and repeated in the background. */
  now(key: string): Promise<void>;
  /** Does it in the background; resolves when that has succeeded or failed for the first time. */
  later(key: string): Promise<void>;
}

export function newReleases(
  work: (key: string) => Promise<void>,
  log: { warn(fields: object, message: string): void },
): Releases {
  const waiting = new Map<string, { attempts: number; timer?: ReturnType<typeof setTimeout> }>();
  const run = async (key: string) => {
    const entry = waiting.get(key) ?? { attempts: 0 };
    clearTimeout(entry.timer);
    waiting.set(key, entry);
    try {
      await work(key);
      clearTimeout(entry.timer);
      waiting.delete(key);
    } catch (error) {
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** entry.attempts, LONGEST_PAUSE_MS);
      entry.attempts++;
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => void run(key).catch(() => {}), pauseMs);
      entry.timer.unref();
      log.warn(
        { sandboxId: key, attempts: entry.attempts, pauseMs, error: messageOf(error) },
        "a pod's network is not given back yet",
      );
      throw error;
    }
  };
  return { now: run, later: (key) => run(key).catch(() => {}) };
}

// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { patience } from "../../support/patience.ts";

/**
 * Calls `probe` until it answers something other than undefined or false, and answers that. What it throws
 * counts as not yet; after the timeout the last of it is part of the error.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 30_000,
  intervalMs = 20,
): Promise<Exclude<T, undefined | false | null>> {
  const limitMs = timeoutMs * patience;
  const endMs = performance.now() + limitMs;
  let last: unknown;
  do {
    try {
      last = await probe();
      if (last !== undefined && last !== false && last !== null) {
        return last as Exclude<T, undefined | false | null>;
      }
    } catch (error) {
      last = error;
    }
    await sleep(intervalMs);
  } while (performance.now() < endMs);
  const said = last instanceof Error ? last.message : JSON.stringify(last);
  throw new Error(`not within ${limitMs} ms: ${what}${said === undefined ? "" : ` (${said})`}`);
}

// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";

/** Callers wait for the very first answer only, and no longer than that. */
const FIRST_ANSWER_MS = 1_000;
const PING_TIMEOUT_MS = 10_000;

/**
 * Answers why `ping` failed when it was last tried, undefined for when it did not. It is tried in the background, and
 * never twice at once, when somebody wants to know and the last answer is older than `freshMs`.
 */
export function watchSystemd(
  ping: (timeoutMs: number) => Promise<void>,
  freshMs: number,
): () => Promise<string | undefined> {
  let answer: { readonly problem: string | undefined; readonly atMs: number } | undefined;
  let asking: Promise<void> | undefined;
  const ask = async () => {
    const problem = await ping(PING_TIMEOUT_MS).then(() => undefined, messageOf);
    answer = { problem, atMs: performance.now() };
    asking = undefined;
  };
  return async () => {
    if (answer === undefined || performance.now() - answer.atMs > freshMs) asking ??= ask();
    if (answer === undefined) await Promise.race([asking, sleep(FIRST_ANSWER_MS)]);
    return answer === undefined ? "systemd has not answered yet" : answer.problem;
  };
}

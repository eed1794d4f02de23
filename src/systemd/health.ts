// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";

/** Callers wait for the very first answer only, and no longer than that. */
const FIRST_ANSWER_MS = 1_000;
const PING_TIMEOUT_MS = 10_000;

/** Whether systemd answers, as last heard of it. */
export interface Health {
  /** Why it does not; undefined when it does, and before anything was heard. */
  readonly last: string | undefined;
  /** Takes note of how a call went: of what stood in its way, undefined for nothing. */
  heard(problem: string | undefined): void;
  /** The same as `last`, of an answer that is about as old as wanted, or is being asked for. */
  problem(): Promise<string | undefined>;
}

/** `ping` is tried in the background, never twice at once, when somebody wants to know more than `freshMs` later. */
export function watchHealth(ping: (timeoutMs: number) => Promise<void>, freshMs: number): Health {
  let answer: { readonly problem: string | undefined; readonly atMs: number } | undefined;
  let asking: Promise<void> | undefined;
  const heard = (problem: string | undefined) => {
    answer = { problem, atMs: performance.now() };
  };
  const ask = async () => {
    heard(await ping(PING_TIMEOUT_MS).then(() => undefined, messageOf));
    asking = undefined;
  };
  return {
    get last() {
      return answer?.problem;
    },
    heard,
    async problem() {
      if (answer === undefined || performance.now() - answer.atMs > freshMs) asking ??= ask();
      if (answer === undefined) await Promise.race([asking, sleep(FIRST_ANSWER_MS)]);
      return answer === undefined ? "systemd has not answered yet" : answer.problem;
    },
  };
}

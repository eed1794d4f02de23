// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError } from "../errors.ts";

export interface TimeLimit extends Disposable {
  readonly signal: AbortSignal;
}

/** Aborts when the caller gives up, or with a DeadlineExceededError after `limitMs`. */
export function timeLimit(caller: AbortSignal, limitMs: number, what: string): TimeLimit {
  const limit = new AbortController();
  const expire = () =>
    limit.abort(new DeadlineExceededError(`${what} did not finish within ${limitMs} ms and was given up`));
  const timer = setTimeout(expire, limitMs);
  return {
    signal: AbortSignal.any([caller, limit.signal]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

// SPDX-License-Identifier: Apache-2.0
import { DeadlineExceededError } from "../errors.ts";

/**
 * Waits for `work` at most `timeoutMs` milliseconds; past that a DeadlineExceededError says that
 * `what` did not finish. The work itself is not stopped: pass it a signal where it can be.
 */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DeadlineExceededError(`${what} did not finish within ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([work, expiry]);
  } finally {
    clearTimeout(timer);
  }
}

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

/** Resolves after `ms` milliseconds, or rejects with the signal's reason when that comes first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Waits for `work`, but no longer than `waitMs` milliseconds, after which it goes on by itself. */
export async function waitAtMost(waitMs: number, work: Promise<unknown>): Promise<void> {
  const patience = new AbortController();
  await Promise.race([work, sleep(waitMs, patience.signal).catch(() => {})]);
  patience.abort();
}

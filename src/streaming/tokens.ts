// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from "node:crypto";
import { ResourceExhaustedError } from "../errors.ts";

const TOKEN_BYTES = 32;
const LIFE_MS = 60_000;
const MAX_OUTSTANDING = 1000;

/** Secrets that each stand for one request, may be used once, and expire. */
export interface Tokens<T> {
  /** A new token for `request`, of characters that need no escape in a URL. */
  issue(request: T): string;
  /** The request of a token, which is used up by it; undefined for one that is unknown, used or expired. */
  redeem(token: string): T | undefined;
}

/**
 * Tokens in memory, so that none outlives the daemon. They are kept by their hash: how long a look takes
 * says nothing about how much of a guess is right. `now` is a clock in milliseconds.
 */
export function newTokens<T>(now: () => number = () => performance.now()): Tokens<T> {
  const outstanding = new Map<string, { readonly request: T; readonly expiresMs: number }>();
  // All live equally long, so the map is in the order of expiry.
  const dropExpired = () => {
    for (const [key, { expiresMs }] of outstanding) {
      if (expiresMs > now()) return;
      outstanding.delete(key);
    }
  };
  return {
    issue(request) {
      dropExpired();
      if (outstanding.size >= MAX_OUTSTANDING) {
        throw new ResourceExhaustedError(
          `${MAX_OUTSTANDING} streaming requests were made whose URLs nobody has called: try again in a minute`,
        );
      }
      const token = randomBytes(TOKEN_BYTES).toString("base64url");
      outstanding.set(keyOf(token), { request, expiresMs: now() + LIFE_MS });
      return token;
    },
    redeem(token) {
      dropExpired();
      const key = keyOf(token);
      const found = outstanding.get(key);
      outstanding.delete(key);
      return found?.request;
    },
  };
}

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

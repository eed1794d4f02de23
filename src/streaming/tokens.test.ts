// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ResourceExhaustedError } from "../errors.ts";
import { newTokens } from "./tokens.ts";

const MINUTE_MS = 60_000;

test("a token stands for its request once", () => {
  const tokens = newTokens<string>();
  const [first, second] = [tokens.issue("first"), tokens.issue("second")];
  expect(first).not.toBe(second);
  expect(tokens.redeem(second)).toBe("second");
  expect(tokens.redeem(second)).toBeUndefined();
  expect(tokens.redeem(first)).toBe("first");
});

test("a token has 256 random bits in characters that a URL has as they are", () => {
  const tokens = newTokens<number>();
  const issued = Array.from({ length: 500 }, (_, index) => tokens.issue(index));
  for (const token of issued) expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(new Set(issued).size).toBe(500);
  for (let place = 0; place < 42; place++) {
    expect(new Set(issued.map((token) => token[place])).size).toBeGreaterThan(20);
  }
});

test("a guess, a part and a longer text are no token", () => {
  const tokens = newTokens<string>();
  const token = tokens.issue("x");
  for (const guess of ["", token.slice(0, -1), `${token}A`, "A".repeat(43), token.toLowerCase()]) {
    expect(tokens.redeem(guess)).toBeUndefined();
  }
  expect(tokens.redeem(token)).toBe("x");
});

test("a token lives a minute", () => {
  let nowMs = 0;
  const tokens = newTokens<string>(() => nowMs);
  const [kept, late] = [tokens.issue("kept"), tokens.issue("late")];
  nowMs = MINUTE_MS - 1;
  expect(tokens.redeem(kept)).toBe("kept");
  nowMs = MINUTE_MS;
  expect(tokens.redeem(late)).toBeUndefined();
});

test("a thousand are outstanding at most; what was used or has expired makes room", () => {
  let nowMs = 0;
  const tokens = newTokens<number>(() => nowMs);
  const issued = Array.from({ length: 1000 }, (_, index) => tokens.issue(index));
  expect(() => tokens.issue(1000)).toThrow(ResourceExhaustedError);
  tokens.redeem(issued[7]!);
  tokens.issue(1001);
  expect(() => tokens.issue(1002)).toThrow("try again in a minute");
  nowMs = MINUTE_MS;
  tokens.issue(1003);
});

// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "commander";
import { durationMs } from "./since.ts";

/** Whole seconds of an option, at most a day. */
export function seconds(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 86_400) return value;
  throw new InvalidArgumentError("expected whole seconds from 0 to 86400.");
}

/** A port, or 0. */
export function port(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 65_535) return value;
  throw new InvalidArgumentError("expected a port from 1 to 65535, or 0 for any that is free.");
}

/** Milliseconds between two looks. */
export function interval(text: string): number {
  const ms = durationMs(text);
  if (ms !== undefined && ms >= 200 && ms <= 3_600_000) return ms;
  throw new InvalidArgumentError("expected a duration from 200ms to 1h, as in 2s.");
}

/** Milliseconds that something has to be old. */
export function age(text: string): number {
  const ms = text === "0" ? 0 : durationMs(text);
  if (ms !== undefined && ms <= MAX_AGE_MS) return Math.round(ms);
  throw new InvalidArgumentError("expected 0 or a duration of at most 1000 days, as in 90s, 2m or 1d.");
}

const MAX_AGE_MS = 1000 * 86_400_000;

/** Milliseconds until a wait is given up. */
export function waitLimit(text: string): number {
  const ms = durationMs(text);
  if (ms !== undefined && ms <= MAX_WAIT_MS) return ms;
  throw new InvalidArgumentError("expected a duration of at most 24 days, as in 30s, 5m or 1h30m.");
}

/** What a timer can wait for. */
const MAX_WAIT_MS = 2 ** 31 - 1;

/** A number of lines. */
export function lineCount(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 1_000_000) return value;
  throw new InvalidArgumentError("expected a number of lines from 0 to 1000000.");
}

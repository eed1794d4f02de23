// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "commander";

const UNITS_MS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|d|h|m|s))+$/;
/** RFC 3339, or its date alone, which is the day's beginning in UTC. */
const TIME = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d))?$/;

/** Milliseconds of a duration, as in `90s`, `1h30m` or `2d`; undefined for what is none. */
export function durationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|d|h|m|s)/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS_MS[unit!]!, 0);
}

/** The value of `--since`: a duration before now, or a time; in milliseconds since 1970. */
export function since(text: string): number {
  const ago = durationMs(text);
  const ms = ago === undefined ? (TIME.test(text) ? Date.parse(text) : Number.NaN) : Date.now() - ago;
  if (Number.isFinite(ms) && Math.abs(ms) <= MAX_DATE_MS) return ms;
  throw new InvalidArgumentError(
    "expected how long ago, as in 10m or 1h30m, or a time, as in 2026-01-31T12:00:00Z.",
  );
}

/** As far as dates go (ECMA-262, 21.4.1.1). */
const MAX_DATE_MS = 8.64e15;

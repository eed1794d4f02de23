// SPDX-License-Identifier: Apache-2.0

/** pino's numbers of levels. */
const LEVELS: Readonly<Record<number, string>> = {
  10: "trace",
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
  60: "fatal",
};

/**
 * One line of pino's JSON as logfmt: `time=2026-01-01T00:00:00.000Z level=info msg="podrt serves" pid=1`. Values with
 * anything but plain characters are quoted as JSON strings are; an error becomes `err` and `stack`.
 */
export function logfmt(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const { message, stack } = (err ?? {}) as { message?: unknown; stack?: unknown };
  const shown = { time, level: LEVELS[Number(level)] ?? level, msg, ...fields, err: message, stack };
  const pairs = Object.entries(shown).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${valueText(value)}`],
  );
  return `${pairs.join(" ")}\n`;
}

function valueText(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w.:/@+,%-]+$/.test(text) ? text : JSON.stringify(text);
}

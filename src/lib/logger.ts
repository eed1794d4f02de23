// SPDX-License-Identifier: Apache-2.0
import pino from "pino";
import { newLineSink } from "./line-sink.ts";
import { logfmt } from "./logfmt.ts";
import { currentOperation } from "./operation.ts";

export type Logger = pino.Logger;

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ["json", "logfmt"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** What is kept of the log for a debug dump. */
const RECENT_LINES = 1000;
const RECENT_BYTES = 256 * 1024;

const stderr = newLineSink(2);
const recent: string[] = [];
let recentBytes = 0;
let format: LogFormat = "json";

function write(line: string): void {
  recent.push(line);
  recentBytes += line.length;
  while (recent.length > RECENT_LINES || recentBytes > RECENT_BYTES) recentBytes -= recent.shift()!.length;
  stderr.write(format === "json" ? line : logfmt(line));
}

/**
 * Structured log on stderr: one JSON object or one line of logfmt each, with the call that it is about. The level is
 * PODRT_LOG's, else the configuration's, else info.
 */
export const logger = pino(
  {
    level: process.env["PODRT_LOG"] ?? "info",
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin() {
      const operation = currentOperation();
      if (operation === undefined) return {};
      const { name, traceId } = operation;
      return traceId === undefined ? { operation: name } : { operation: name, traceId };
    },
  },
  { write },
);

/** What the configuration says of the log. */
export function configureLog(options: { readonly level: LogLevel; readonly format: LogFormat }): void {
  if (process.env["PODRT_LOG"] === undefined) logger.level = options.level;
  format = options.format;
}

/** The last lines of the log, as JSON, the oldest first. */
export function recentLogLines(): readonly string[] {
  return recent.map((line) => line.trimEnd());
}

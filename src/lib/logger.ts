// SPDX-License-Identifier: Apache-2.0
import pino from "pino";
import { newLineSink } from "./line-sink.ts";

export type Logger = pino.Logger;

/** Structured log on stderr, one JSON object a line; the level comes from PODRT_LOG (default info). */
export const logger = pino(
  { level: process.env["PODRT_LOG"] ?? "info", base: null, timestamp: pino.stdTimeFunctions.isoTime },
  newLineSink(2),
);

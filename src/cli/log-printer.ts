// SPDX-License-Identifier: Apache-2.0
import type { Io } from "./io.ts";
import type { LogLine } from "./log-file.ts";

export interface LogStyle {
  /** Before each line, as in `app1 | `; empty for none. */
  readonly prefix: string;
  readonly showTimes: boolean;
}

/** Prints lines of one container, each to the stream it was written to. */
export interface LogPrinter {
  print(lines: readonly LogLine[]): Promise<void>;
  /** Ends a line that was left without its end. */
  finish(): Promise<void>;
}

const NEWLINE = Buffer.from("\n");

/**
 * Parts of a line are printed as they come. Only when several containers share a terminal, so with a
 * prefix, an unended part is ended first by a line of another.
 */
export function logPrinter(io: Io, style: LogStyle): LogPrinter {
  const isOpen = { stdout: false, stderr: false };
  const write = (stream: LogLine["stream"], bytes: Uint8Array) =>
    stream === "stdout" ? io.out(bytes) : io.err(bytes);

  const print = async (lines: readonly LogLine[]) => {
    // One write for each run of lines of a stream: a busy log is many thousand lines a second.
    let parts: Uint8Array[] = [];
    let current: LogLine["stream"] | undefined;
    const flush = async () => {
      if (current !== undefined && parts.length > 0) await write(current, Buffer.concat(parts));
      parts = [];
    };
    for (const line of lines) {
      if (line.stream !== current) await flush();
      current = line.stream;
      if (!isOpen[line.stream]) {
        const time = style.showTimes ? `${line.time} ` : "";
        parts.push(Buffer.from(`${style.prefix}${time}`));
      }
      parts.push(line.text);
      if (line.isWhole) parts.push(NEWLINE);
      isOpen[line.stream] = !line.isWhole;
    }
    await flush();
  };
  const finish = async () => {
    for (const stream of ["stdout", "stderr"] as const) {
      if (isOpen[stream] && style.prefix !== "") await write(stream, NEWLINE);
      isOpen[stream] = false;
    }
  };
  return { print, finish };
}

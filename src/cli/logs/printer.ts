// SPDX-License-Identifier: Apache-2.0
import type { Io } from "../io.ts";
import type { LogLine } from "./log-file.ts";

/** One of those whose lines are printed. */
export interface LogSource {
  /** Before each line, as in `app1 | `; empty where nobody else prints. */
  readonly prefix: string;
}

/** Prints lines of containers, each to the stream it was written to. */
export interface LogPrinter {
  print(source: LogSource, lines: readonly LogLine[]): Promise<void>;
  /** Ends a line that was left without its end; the source prints no more. */
  finish(source: LogSource): Promise<void>;
  /** Writes what was kept back to be written at once. */
  flush(): Promise<void>;
}

type Stream = LogLine["stream"];

const NEWLINE = Buffer.from("\n");
/** A busy log is many thousand lines a second: they are written together. */
const KEPT_BYTES = 256 * 1024;

/**
 * Parts of a line are printed as they come. Sources with a prefix share the screen: an unended line of one is ended
 * before anything else comes, and goes on in a line of its own.
 */
export function logPrinter(io: Io, { showTimes }: { readonly showTimes: boolean }): LogPrinter {
  /** The sources whose last line on a stream has not ended. */
  const open: Record<Stream, Set<LogSource>> = { stdout: new Set(), stderr: new Set() };
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  let keptFor: Stream = "stdout";

  const flush = async () => {
    if (kept.length === 0) return;
    const bytes = Buffer.concat(kept);
    kept = [];
    keptBytes = 0;
    await (keptFor === "stdout" ? io.out(bytes) : io.err(bytes));
  };
  const write = async (stream: Stream, ...parts: readonly Uint8Array[]) => {
    if (stream !== keptFor || keptBytes > KEPT_BYTES) await flush();
    keptFor = stream;
    for (const part of parts) {
      kept.push(part);
      keptBytes += part.length;
    }
  };
  const end = async (stream: Stream, source: LogSource) => {
    if (open[stream].delete(source) && source.prefix !== "") await write(stream, NEWLINE);
  };
  const endOthers = async (stream: Stream, source: LogSource) => {
    for (const other of ["stdout", "stderr"] as const) {
      for (const opened of [...open[other]]) {
        if (opened.prefix !== "" && (opened !== source || other !== stream)) await end(other, opened);
      }
    }
  };
  return {
    async print(source, lines) {
      const prefix = Buffer.from(source.prefix);
      for (const { stream, isWhole, time, text } of lines) {
        await endOthers(stream, source);
        if (!open[stream].has(source)) {
          await write(stream, prefix, Buffer.from(showTimes ? `${time} ` : ""));
        }
        await write(stream, text);
        if (isWhole) await write(stream, NEWLINE);
        if (isWhole) open[stream].delete(source);
        else open[stream].add(source);
      }
    },
    async finish(source) {
      await end("stdout", source);
      await end("stderr", source);
      await flush();
    },
    flush,
  };
}

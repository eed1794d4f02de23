// SPDX-License-Identifier: Apache-2.0
import { LINE_FEED, LINE_LIMIT_BYTES, type LogFile, type LogStream } from "./log-file.ts";

const CARRIAGE_RETURN = 13;

/** Cuts the output of one stream into records of a log. What cannot be written is thrown, and nothing of it is in the log. */
export interface LineWriter {
  /**
   * Writes the records that `input` has; the bytes before `searchFrom` are known to have no line feed.
   * Answers how many bytes they cover: what follows is the beginning of a line and comes again.
   */
  write(input: Buffer, searchFrom: number): number;
  /** Writes all of `input`, its last line as a partial record if it has no end. */
  writeAll(input: Buffer): void;
}

export function newLineWriter(stream: LogStream, tty: boolean, file: LogFile): LineWriter {
  /** Writes records of full length while more than that is left; answers where the rest starts. */
  const fullRecords = (input: Buffer, from: number, end: number): number => {
    let start = from;
    for (; end - start > LINE_LIMIT_BYTES; start += LINE_LIMIT_BYTES) {
      file.append("P", input, start, start + LINE_LIMIT_BYTES);
    }
    return start;
  };
  const write = (input: Buffer, searchFrom: number): number => {
    file.begin(stream);
    let start = 0;
    let lineFeed = input.indexOf(LINE_FEED, searchFrom);
    while (lineFeed >= 0) {
      const end =
        tty && input[lineFeed - 1] === CARRIAGE_RETURN && lineFeed > start ? lineFeed - 1 : lineFeed;
      start = fullRecords(input, start, end);
      file.append("F", input, start, end);
      start = lineFeed + 1;
      lineFeed = input.indexOf(LINE_FEED, start);
    }
    // A trailing carriage return may yet turn out to be the terminal's, and then does not count.
    const uncounted = tty && input[input.length - 1] === CARRIAGE_RETURN ? 1 : 0;
    start = fullRecords(input, start, input.length - uncounted);
    file.flush();
    return start;
  };
  return {
    write,
    writeAll(input) {
      const from = write(input, 0);
      if (from === input.length) return;
      file.append("P", input, fullRecords(input, from, input.length), input.length);
      file.flush();
    },
  };
}

/** Whether `write` would write anything of `input`. */
export function hasRecords(input: Buffer, searchFrom: number): boolean {
  return input.length > LINE_LIMIT_BYTES || input.indexOf(LINE_FEED, searchFrom) >= 0;
}

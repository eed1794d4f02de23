// SPDX-License-Identifier: Apache-2.0
import { LINE_FEED, LINE_LIMIT_BYTES, type LogFile, type LogStream } from "./log-file.ts";

const CARRIAGE_RETURN = 13;

/** Cuts the output of one stream into records of a log. What cannot be written is thrown, and nothing of it is in the log. */
export class LineWriter {
  readonly #stream: LogStream;
  readonly #tty: boolean;
  readonly #file: LogFile;

  constructor(stream: LogStream, tty: boolean, file: LogFile) {
    this.#stream = stream;
    this.#tty = tty;
    this.#file = file;
  }

  /**
   * Writes the records that `input` has; the bytes before `searchFrom` are known to have no line feed.
   * Answers how many bytes they cover: what follows is the beginning of a line and comes again.
   */
  write(input: Buffer, searchFrom: number): number {
    const [file, tty] = [this.#file, this.#tty];
    file.begin(this.#stream);
    let start = 0;
    let lineFeed = input.indexOf(LINE_FEED, searchFrom);
    while (lineFeed >= 0) {
      const end =
        tty && input[lineFeed - 1] === CARRIAGE_RETURN && lineFeed > start ? lineFeed - 1 : lineFeed;
      start = this.#fullRecords(input, start, end);
      file.append("F", input, start, end);
      start = lineFeed + 1;
      lineFeed = input.indexOf(LINE_FEED, start);
    }
    // A trailing carriage return may yet turn out to be the terminal's, and then does not count.
    const uncounted = tty && input[input.length - 1] === CARRIAGE_RETURN ? 1 : 0;
    start = this.#fullRecords(input, start, input.length - uncounted);
    file.flush();
    return start;
  }

  /** Writes all of `input`, its last line as a partial record if it has no end. */
  writeAll(input: Buffer): void {
    const from = this.write(input, 0);
    if (from === input.length) return;
    this.#file.append("P", input, this.#fullRecords(input, from, input.length), input.length);
    this.#file.flush();
  }

  /** Writes records of full length while more than that is left; answers where the rest starts. */
  #fullRecords(input: Buffer, from: number, end: number): number {
    let start = from;
    for (; end - start > LINE_LIMIT_BYTES; start += LINE_LIMIT_BYTES) {
      this.#file.append("P", input, start, start + LINE_LIMIT_BYTES);
    }
    return start;
  }
}

/** Whether `write` would write anything of `input`. */
export function hasRecords(input: Buffer, searchFrom: number): boolean {
  return input.length > LINE_LIMIT_BYTES || input.indexOf(LINE_FEED, searchFrom) >= 0;
}

// SPDX-License-Identifier: Apache-2.0
import { StringDecoder } from "node:string_decoder";
import { printable } from "../lib/foreign-text.ts";

/** What is kept of a line. */
const LINE_LIMIT_CHARACTERS = 1000;
/** So many lines are logged in any such time; the others are counted. */
const LINES_PER_WINDOW = 100;
const WINDOW_MS = 10_000;

/**
 * Takes what a program writes in any pieces, and hands on its lines: cut, fit to be printed, and not more than a log can
 * bear. `now` is a clock in milliseconds.
 */
export class ProgramOutput {
  readonly #log: (line: string) => void;
  readonly #now: () => number;
  readonly #decoder = new StringDecoder("utf8");
  #line = "";
  #windowEnd = 0;
  #logged = 0;
  #dropped = 0;

  constructor(log: (line: string) => void, now = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  take(chunk: Uint8Array): void {
    const [rest = "", ...lines] = this.#decoder.write(Buffer.from(chunk)).split("\n");
    this.#extend(rest);
    for (const line of lines) {
      this.#flush();
      this.#extend(line);
    }
  }

  /** What is left at the end: a line that was not ended, and how many were dropped. */
  end(): void {
    this.#flush();
    this.#tellDropped();
  }

  #extend(text: string): void {
    this.#line += text.slice(0, LINE_LIMIT_CHARACTERS + 1 - this.#line.length);
  }

  #flush(): void {
    const line = this.#line;
    this.#line = "";
    if (line.trim() === "") return;
    if (this.#now() >= this.#windowEnd) {
      this.#tellDropped();
      this.#windowEnd = this.#now() + WINDOW_MS;
      this.#logged = 0;
    }
    if (this.#logged === LINES_PER_WINDOW) this.#dropped++;
    else {
      this.#logged++;
      const isCut = line.length > LINE_LIMIT_CHARACTERS;
      this.#log(`${printable(line, LINE_LIMIT_CHARACTERS)}${isCut ? "..." : ""}`);
    }
  }

  #tellDropped(): void {
    if (this.#dropped > 0) this.#log(`and ${this.#dropped} more lines`);
    this.#dropped = 0;
  }
}

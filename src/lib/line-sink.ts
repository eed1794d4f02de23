// SPDX-License-Identifier: Apache-2.0
import { writeSync } from "node:fs";

/** Takes one line, with its line feed. */
export interface LineSink {
  write(line: string): void;
}

/**
 * Writes lines to a descriptor, and gives up those that cannot be written, on a full disk or to a reader that has gone:
 * what is told of a call must not decide whether it succeeds. A line that was torn is ended before the next one.
 */
export function newLineSink(fd: number): LineSink {
  let isTorn = false;
  return {
    write(line) {
      const bytes = Buffer.from(isTorn ? `\n${line}` : line);
      let written = 0;
      try {
        while (written < bytes.length) written += writeSync(fd, bytes, written);
        isTorn = false;
      } catch {
        isTorn ||= written > 0;
      }
    },
  };
}

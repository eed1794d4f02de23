// SPDX-License-Identifier: Apache-2.0
import { rmSync, writeSync } from "node:fs";
import { O_CREAT, O_RDWR } from "../abi/fcntl.ts";
import { type Fd, open } from "../fd.ts";
import { readFromStart } from "../proc-file.ts";
import { tryRead, tryWrite } from "./files.ts";

/** An empty first line: to write that is quicker than to cut the file, and takes no room. */
const NOTHING = "\n";

/**
 * Changes files of cgroups that are somebody else's, each for a moment. Which one it is and what was in it is noted
 * before, in a file at `path`; after a daemon that was killed in that moment the next one puts it back.
 */
export class BorrowedFile {
  readonly #path: string;
  readonly #note: Fd;

  /** Puts back what an earlier one could not. */
  constructor(path: string) {
    this.#path = path;
    this.#note = open(path, O_RDWR | O_CREAT, 0o600);
    const [file = "", own = ""] = readFromStart(this.#note).split("\n");
    if (file !== "") tryWrite(file, own);
    this.#write(NOTHING);
  }

  /** Runs `work` while there is `value` in `file`; without that where it cannot be read, noted or written. */
  during(file: string, value: string, work: () => void): void {
    const own = tryRead(file);
    const isChanged = own !== undefined && own !== value && this.#write(`${file}\n${own}\n`);
    try {
      if (isChanged) tryWrite(file, value);
      work();
    } finally {
      if (isChanged) {
        tryWrite(file, own);
        this.#write(NOTHING);
      }
    }
  }

  /** False where there is no room for it. */
  #write(text: string): boolean {
    try {
      const bytes = Buffer.from(text);
      return writeSync(this.#note.number, bytes, 0, bytes.length, 0) === bytes.length;
    } catch {
      return false;
    }
  }

  /** Removes the file. */
  close(): void {
    rmSync(this.#path, { force: true });
    this.#note.close();
  }
}

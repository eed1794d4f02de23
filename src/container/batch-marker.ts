// SPDX-License-Identifier: Apache-2.0
import { fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { orStorageError, storageError } from "../lib/storage-error.ts";
import { O_CREAT, O_RDONLY, O_RDWR } from "../linux/abi/fcntl.ts";
import { type Fd, open, openIfThere } from "../linux/fd.ts";

/*
 * Which batch of output is being written to a log. It is noted before the records are appended and
 * cleared after their bytes have left the stage, so that a daemon that comes later can tell whether
 * records are in the log whose bytes are still in the stage, and take them back.
 *
 *   40 bytes: 1 while a batch is open | index of the stream | inode of the log file | its size before
 *             the batch | bytes in the stage before the batch   (64-bit little-endian words)
 */
const MARKER_BYTES = 40;

// Of all markers, which are written one after the other.
const words = new BigUint64Array(MARKER_BYTES / 8);
const bytes = new Uint8Array(words.buffer);

/**
 * The marker at `path`, with no batch open. The file is made for the first batch: many containers write nothing, and a
 * new file is dear among what a start does.
 */
export class BatchMarker {
  readonly #path: string;
  #file: Fd | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#file = orStorageError(`open ${path}`, () => openIfThere(path, O_RDWR));
    try {
      // One that is shorter, for want of room or since its daemon died, has no batch, and may still have no room.
      if (this.#isWhole()) this.clear();
    } catch (error) {
      this.close();
      throw storageError(`write ${path}`, error);
    }
  }

  open(streamIndex: number, inode: number, sizeBytes: number, stagedBytes: number): void {
    this.#file ??= orStorageError(`open ${this.#path}`, () => open(this.#path, O_RDWR | O_CREAT, 0o600));
    this.#write([1, streamIndex, inode, sizeBytes, stagedBytes]);
  }

  clear(): void {
    this.#write([0, 0, 0, 0, 0]);
  }

  close(): void {
    this.#file?.close();
  }

  #isWhole(): boolean {
    return this.#file !== undefined && fstatSync(this.#file.number).size >= MARKER_BYTES;
  }

  #write(values: readonly number[]): void {
    if (this.#file === undefined) return;
    values.forEach((value, index) => {
      words[index] = BigInt(value);
    });
    writeSync(this.#file.number, bytes, 0, MARKER_BYTES, 0);
  }
}

/**
 * Takes an unfinished batch out of the log at `logPath`: its bytes are all still in the stage, whose
 * fill `stagedBytes` tells by the stream's index. Does nothing where the batch was finished, or where
 * the file is another one by now.
 */
export function undoOpenBatch(
  markerPath: string,
  logPath: string,
  stagedBytes: (streamIndex: number) => number,
): void {
  const words = readMarker(markerPath);
  if (words === undefined || words[0] !== 1n || logPath === "") return;
  const [, stream = 0n, inode = 0n, size = 0n, staged = 0n] = words;
  if (BigInt(stagedBytes(Number(stream))) !== staged) return;
  using log = openIfThere(logPath, O_RDWR);
  if (log === undefined) return;
  const status = fstatSync(log.number);
  if (BigInt(status.ino) === inode && BigInt(status.size) > size) ftruncateSync(log.number, Number(size));
}

function readMarker(path: string): BigUint64Array | undefined {
  using file = openIfThere(path, O_RDONLY);
  if (file === undefined) return undefined;
  const bytes = new Uint8Array(MARKER_BYTES);
  return readSync(file.number, bytes, 0, MARKER_BYTES, 0) === MARKER_BYTES
    ? new BigUint64Array(bytes.buffer)
    : undefined;
}

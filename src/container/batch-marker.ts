// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { storageError } from "../lib/storage-error.ts";

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

/** The marker at `path`, which is made where it is not there, with no batch open. */
export class BatchMarker {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openForUpdate(path);
    try {
      this.clear();
    } catch (error) {
      this.close();
      throw storageError(`write ${path}`, error);
    }
  }

  open(streamIndex: number, inode: number, sizeBytes: number, stagedBytes: number): void {
    this.#write([1, streamIndex, inode, sizeBytes, stagedBytes]);
  }

  clear(): void {
    this.#write([0, 0, 0, 0, 0]);
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(values: readonly number[]): void {
    values.forEach((value, index) => {
      words[index] = BigInt(value);
    });
    writeSync(this.#file, bytes, 0, MARKER_BYTES, 0);
  }
}

function openForUpdate(path: string): number {
  try {
    closeSync(openSync(path, "a", 0o600));
    return openSync(path, "r+");
  } catch (error) {
    throw storageError(`open ${path}`, error);
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
  const log = openExisting(logPath, "r+");
  if (log === undefined) return;
  try {
    const status = fstatSync(log);
    if (BigInt(status.ino) === inode && BigInt(status.size) > size) ftruncateSync(log, Number(size));
  } finally {
    closeSync(log);
  }
}

function readMarker(path: string): BigUint64Array | undefined {
  const file = openExisting(path, "r");
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(MARKER_BYTES);
    return readSync(file, bytes, 0, MARKER_BYTES, 0) === MARKER_BYTES
      ? new BigUint64Array(bytes.buffer)
      : undefined;
  } finally {
    closeSync(file);
  }
}

function openExisting(path: string, mode: string): number | undefined {
  try {
    return openSync(path, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

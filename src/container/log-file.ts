// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { storageError } from "../lib/storage-error.ts";
import { syscall } from "../linux/syscall.ts";
import { logBytes, logRecords, logSplits, logWriteFailures } from "../telemetry/daemon-families.ts";

export type LogStream = "stdout" | "stderr";

/** Content bytes of one record; longer lines become records tagged P, and the last one F. */
export const LINE_LIMIT_BYTES = 16_384;
export const LINE_FEED = 10;

const FILE_MODE = 0o640;
const DIRECTORY_MODE = 0o755;
const CLOCK_REALTIME = 0;
/** More than `2016-10-06T00:17:09.669794202Z stdout F ` and the line feed. */
const RECORD_OVERHEAD_BYTES = 48;
/** Records on their way to a file; every log uses it in turn, within one synchronous call. */
const scratch = Buffer.allocUnsafeSlow(1 << 19);

/** The file of a log: whole batches of records only, none split between two files. */
export class LogFile {
  readonly path: string;
  #fd: number;
  #prefixF: Buffer = Buffer.alloc(0);
  #prefixP: Buffer = Buffer.alloc(0);
  #used = 0;
  /** Size of the file before the batch under way, or before the one that failed and is still to be taken off. */
  #batchStart = 0;
  #isTorn = false;
  /** Of the records on their way: how many, partial ones among them, and their content. */
  #onTheirWay = { records: 0, splits: 0, bytes: 0 };

  constructor(path: string) {
    this.path = path;
    this.#fd = openForAppend(path);
  }

  /** Begins a batch: answers which file it goes to and how large that is before it. */
  beginBatch(): { readonly inode: number; readonly sizeBytes: number } {
    if (this.#isTorn) this.#takeBack();
    const { ino, size } = fstatSync(this.#fd);
    this.#batchStart = size;
    return { inode: ino, sizeBytes: size };
  }

  /** Gives the records that follow the time now, and their stream. */
  begin(stream: LogStream): void {
    const prefix = recordPrefix(stream);
    this.#prefixF = Buffer.from(`${prefix}F `);
    this.#prefixP = Buffer.from(`${prefix}P `);
  }

  /** Adds one record of `input` from `start` to `end`, at most LINE_LIMIT_BYTES of it. */
  append(tag: "F" | "P", input: Buffer, start: number, end: number): void {
    if (this.#used + end - start + RECORD_OVERHEAD_BYTES > scratch.length) this.flush();
    const prefix = tag === "F" ? this.#prefixF : this.#prefixP;
    let used = this.#used;
    used += prefix.copy(scratch, used);
    used += input.copy(scratch, used, start, end);
    scratch[used++] = LINE_FEED;
    this.#used = used;
    this.#onTheirWay.records++;
    if (tag === "P") this.#onTheirWay.splits++;
    this.#onTheirWay.bytes += end - start;
  }

  /**
   * Writes the records added so far, in one call where the kernel takes them. Where it does not, the whole batch is
   * taken off the file again, so that it can be written anew, and the error is thrown.
   */
  flush(): void {
    const length = this.#used;
    this.#used = 0;
    const { records, splits, bytes } = this.#onTheirWay;
    this.#onTheirWay = { records: 0, splits: 0, bytes: 0 };
    let written = 0;
    try {
      while (written < length) written += writeSync(this.#fd, scratch, written, length - written);
      logRecords.add(records);
      logSplits.add(splits);
      logBytes.add(bytes);
    } catch (error) {
      this.#isTorn = true;
      logWriteFailures.add(1);
      try {
        this.#takeBack();
      } catch {
        // Tried again before the next batch.
      }
      throw error;
    }
  }

  /** Goes on in the file that the path names now; on failure the one in use stays. */
  reopen(): void {
    const former = this.#fd;
    this.#fd = openForAppend(this.path);
    this.#isTorn = false;
    closeSync(former);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #takeBack(): void {
    const status = fstatSync(this.#fd);
    if (status.isFile() && status.size > this.#batchStart) ftruncateSync(this.#fd, this.#batchStart);
    this.#isTorn = false;
  }
}

/** Opens a log file to append to, with the directories above it. */
function openForAppend(path: string): number {
  let fd: number;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE });
    fd = openSync(path, "a+", FILE_MODE);
  } catch (error) {
    throw storageError(`open log file ${path}`, error);
  }
  endTornRecord(fd);
  return fd;
}

/** Ends a record that was torn by the death of an earlier daemon, so the next one is on its own line. */
function endTornRecord(fd: number): void {
  try {
    const { size } = fstatSync(fd);
    const last = Buffer.alloc(1);
    if (size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last[0] !== LINE_FEED) writeSync(fd, "\n");
  } catch {
    // On a full disk the first new record continues the torn one; a container starts all the same.
  }
}

const clock = new BigInt64Array(2);
const clockBytes = new Uint8Array(clock.buffer);
let formattedSecond = { second: -1n, text: "" };

/** `2016-10-06T00:17:09.669794202Z stdout `: the time now, in UTC with nine digits, and the stream. */
function recordPrefix(stream: LogStream): string {
  syscall("clock_gettime", CLOCK_REALTIME, clockBytes);
  const [second = 0n, nanoseconds = 0n] = clock;
  if (second !== formattedSecond.second) {
    formattedSecond = { second, text: new Date(Number(second) * 1000).toISOString().slice(0, 19) };
  }
  return `${formattedSecond.text}.${nanoseconds.toString().padStart(9, "0")}Z ${stream} `;
}

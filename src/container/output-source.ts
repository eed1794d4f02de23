// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import {
  BUSY_STAGE_BYTES,
  bytesIn,
  dropFromPipe,
  growForBusyWriter,
  moveToPipe,
  newStage,
  openWriteEnd,
  PIPE_BYTES,
  peekPipe,
} from "../linux/pipe.ts";
import { SyscallError } from "../linux/syscall.ts";
import type { BatchMarker } from "./batch-marker.ts";
import { hasRecords, LineWriter } from "./line-writer.ts";
import type { LogFile, LogStream } from "./log-file.ts";
import { type PollResult, type Watch, watchOutput } from "./output-poller.ts";

/*
 * Output goes from the container's pipe to its log so that a daemon that is killed at any instruction
 * loses no byte and doubles none. It is never read before it is written down:
 *
 *   1. splice(2) moves bytes from the pipe into the stage, a second pipe; each is in one or the other.
 *   2. tee(2) copies the stage's content to be looked at; the stage keeps it.
 *   3. The marker notes the log's size and the stage's fill; records are appended; one read takes
 *      their bytes out of the stage; the marker is cleared.
 *
 * The monitor holds pipe and stage. A daemon that comes later finds the stage either as full as the
 * open marker says, and takes the records back to write them again, or emptier, and goes on.
 * The beginning of a line stays in the stage until its end comes.
 *
 * While the log cannot be written, because its disk is full, nothing is moved: the output waits in stage
 * and pipe, then the container waits, as it would for any slow reader. It is tried again with growing pauses,
 * also after the container's end, until there is room or the container is removed.
 */

/** A line that has had no end for this long is written as far as it goes: a prompt, say. */
const IDLE_LINE_MS = 100;
/**
 * Where a program's buffer was full in the middle of a line, the end comes when the program has a processor again: so
 * many times that are waited for it.
 */
const TORN_LINE_WAITS = 50;
/** Programs' buffers are a multiple of the smaller, and mostly of the larger. */
const SMALL_BLOCK_BYTES = 1024;
const BLOCK_BYTES = 4096;
/** After a failure less is written at a time, so that of a disk that is almost full the last is used too. */
const SMALL_BATCH_BYTES = 64 * 1024;
/** Errors of a descriptor that is no pipe or terminal; others pass. */
const PERMANENT: ReadonlySet<number> = new Set([ERRNO.EBADF, ERRNO.EINVAL]);
/** After a failure it is tried again this much later, then twice as long each time, up to the limit. */
const RETRY_MS = 100;
const RETRY_LIMIT_MS = 5000;
const STREAM_INDEX: Readonly<Record<LogStream, number>> = { stdout: 0, stderr: 1 };

export interface OutputSourceOptions {
  readonly stream: LogStream;
  /** The container's pipe or terminal; the caller's, who closes it after `done`. */
  readonly fd: number;
  /** Read end of the stage, the caller's; absent where nothing has to outlive this process. */
  readonly stageFd: number | undefined;
  /** Absent for a container without a log. */
  readonly file: LogFile | undefined;
  readonly marker: BatchMarker | undefined;
  readonly tty: boolean;
  readonly tell: (chunk: Uint8Array) => void;
}

export interface OutputSource {
  /** Settles when the output has ended, or was cancelled, and its last record is written; or when it was abandoned. */
  readonly done: Promise<void>;
  /** True from a failure to write until it has been made good. */
  readonly isHeldBack: boolean;
  poke(): void;
  /** Takes nothing more from the container; what is staged is still written. */
  cancel(): void;
  /** The same, but what cannot be written now is lost, and the daemon's log says how much. */
  abandon(): void;
}

/** Starts moving one stream of a container into its log. */
export function startOutputSource(options: OutputSourceOptions): OutputSource {
  try {
    return new StagedSource(options);
  } catch (error) {
    throw new InternalError(`cannot read the output of a container: ${messageOf(error)}`, { cause: error });
  }
}

class StagedSource implements OutputSource {
  readonly done: Promise<void>;
  readonly #options: OutputSourceOptions;
  readonly #lines: LineWriter | undefined;
  readonly #ownStage: { read: Fd; write: Fd } | undefined;
  readonly #stageFd: number;
  readonly #stageWrite: Fd;
  readonly #watch: Watch;
  readonly #settled = Promise.withResolvers<void>();
  /** Bytes at the stage's beginning that have no line feed. */
  #seen = 0;
  /** Bytes at the stage's beginning that are in the log. */
  #written = 0;
  /** Bytes at the stage's beginning that listeners have heard of. */
  #told = 0;
  /** True while the stage has something that was not looked at to the end. */
  #isPending = false;
  #hold: { readonly sinceMs: number; delayMs: number; timer: ReturnType<typeof setTimeout> } | undefined;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #hasGrown = false;
  /** Whether the last piece was a program's full buffer, by its size, and how often its line's end was waited for. */
  #isTorn = false;
  #waits = 0;
  #isGrown = false;
  /** What is looked at in one go; twice as much after each success. */
  #batchLimit = BUSY_STAGE_BYTES + 1;
  /** Nothing more is taken from the container. */
  #isEnding = false;
  #isOver = false;

  constructor(options: OutputSourceOptions) {
    this.#options = options;
    this.done = this.#settled.promise;
    const { file, stream, tty } = options;
    this.#lines = file === undefined ? undefined : new LineWriter(stream, tty, file);
    this.#ownStage = options.stageFd === undefined ? newStage() : undefined;
    this.#stageFd = options.stageFd ?? (this.#ownStage as { read: Fd }).read.number;
    this.#stageWrite = this.#ownStage?.write ?? openWriteEnd(this.#stageFd);
    try {
      this.#watch = watchOutput(options.fd, () => this.#poll());
    } catch (error) {
      this.#closeStage();
      throw error;
    }
    // What an earlier daemon had staged is written before anything else is moved.
    this.#tolerating(() => this.#digest(false));
  }

  get isHeldBack(): boolean {
    return this.#hold !== undefined;
  }

  poke(): void {
    this.#watch.poke();
  }

  cancel(): void {
    this.#end();
  }

  abandon(): void {
    this.#end();
    if (this.#isOver) return;
    const lostBytes =
      bytesIn(this.#stageFd) - this.#written + (this.#options.tty ? 0 : bytesIn(this.#options.fd));
    logger.error(
      { log: this.#options.file?.path, lostBytes },
      "output of a container was never written: it was removed before its log could be",
    );
    this.#settle();
  }

  #poll(): PollResult {
    if (this.#hold !== undefined) return "empty";
    const result = this.#tolerating(() => this.#move()) ?? "empty";
    if (result === "ended") this.#end();
    return result;
  }

  /** A failure, of memory or of a file, loses nothing: what it concerns is still in pipe or stage. */
  #tolerating<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#holdBack(error);
      return undefined;
    }
  }

  #holdBack(err: unknown): void {
    if (this.#hold === undefined) {
      logger.error(
        { err, log: this.#options.file?.path },
        "output cannot be written to its log and is held back until it can",
      );
    }
    const { sinceMs, delayMs } = this.#hold ?? { sinceMs: performance.now(), delayMs: RETRY_MS / 2 };
    clearTimeout(this.#hold?.timer);
    this.#batchLimit = SMALL_BATCH_BYTES;
    const delay = Math.min(2 * delayMs, RETRY_LIMIT_MS);
    this.#hold = { sinceMs, delayMs: delay, timer: setTimeout(() => this.#retry(), delay) };
  }

  #release(): void {
    if (this.#hold === undefined) return;
    clearTimeout(this.#hold.timer);
    const heldBackMs = Math.round(performance.now() - this.#hold.sinceMs);
    this.#hold = undefined;
    logger.info({ log: this.#options.file?.path, heldBackMs }, "output is written to its log again");
  }

  #retry(): void {
    if (this.#isEnding) {
      this.#writeRest();
      return;
    }
    this.#tolerating(() => this.#digest(false));
    if (this.#hold === undefined) this.poke();
  }

  #move(): PollResult {
    while (this.#isPending) this.#digest(false);
    let moved = moveToPipe(this.#options.fd, this.#stageWrite.number);
    if (moved === -ERRNO.EAGAIN) {
      // Nothing is there, or the stage is full of small pieces of one line.
      if (this.#seen === 0 || bytesIn(this.#options.fd) === 0) return "empty";
      // What is there may have come since, a line's end among it: only what stays there is in want of room.
      moved = moveToPipe(this.#options.fd, this.#stageWrite.number);
      if (moved === -ERRNO.EAGAIN) {
        this.#digest(true);
        return "data";
      }
    }
    if (moved > 0) {
      this.#isTorn = moved >= BLOCK_BYTES || moved % SMALL_BLOCK_BYTES === 0;
      this.#digest(false);
      if (moved >= PIPE_BYTES && !this.#isGrown) {
        this.#isGrown = true;
        growForBusyWriter(this.#options.fd, this.#stageFd);
      }
      return "data";
    }
    // The master of a terminal whose other side is closed answers EIO: its end of file.
    const isEnd = moved === 0 || (this.#options.tty && moved === -ERRNO.EIO);
    if (!isEnd) {
      const cause = new SyscallError("splice", -moved);
      if (!PERMANENT.has(-moved)) throw cause;
      this.#settled.reject(
        new InternalError(`cannot read the output of a container: ${cause.message}`, { cause }),
      );
    }
    return "ended";
  }

  /** Writes what the stage has: whole lines, or with `all` the beginning of one too. */
  #digest(all: boolean): void {
    this.#takeOut();
    this.#isPending = true;
    const content = peekPipe(this.#stageFd, this.#batchLimit);
    const isWhole = content.length < this.#batchLimit;
    if (content.length > this.#told) this.#options.tell(content.subarray(this.#told));
    this.#told = Math.max(this.#told, content.length);
    const input = Buffer.from(content.buffer, content.byteOffset, content.length);
    this.#written = this.#write(input, isWhole ? input.length : bytesIn(this.#stageFd), all && isWhole);
    this.#seen = input.length - this.#written;
    this.#takeOut();
    this.#isPending = !isWhole;
    this.#batchLimit = Math.min(2 * this.#batchLimit, BUSY_STAGE_BYTES + 1);
    this.#release();
    this.#hasGrown = true;
    if (this.#seen > 0 && !this.#isEnding)
      this.#idleTimer ??= setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
  }

  /** Takes what is written out of the stage; what a failure keeps there is taken out before anything else is written. */
  #takeOut(): void {
    if (this.#written === 0) return;
    dropFromPipe(this.#stageFd, this.#written);
    this.#told -= this.#written;
    this.#written = 0;
    this.#options.marker?.clear();
  }

  /** Writes records of `input`, with which the `stagedBytes` of the stage begin. */
  #write(input: Buffer, stagedBytes: number, all: boolean): number {
    const { file, marker, stream } = this.#options;
    if (file === undefined || this.#lines === undefined) return input.length;
    if (input.length === 0 || (!all && !hasRecords(input, this.#seen))) return 0;
    const { inode, sizeBytes } = file.beginBatch();
    marker?.open(STREAM_INDEX[stream], inode, sizeBytes, stagedBytes);
    if (!all) return this.#lines.write(input, this.#seen);
    this.#lines.writeAll(input);
    return input.length;
  }

  #writeIdle(): void {
    this.#idleTimer = undefined;
    if (this.#isEnding || this.#hold !== undefined || this.#seen === 0) return;
    this.#waits = this.#hasGrown ? 0 : this.#waits + 1;
    const isWaitedFor = this.#hasGrown || (this.#isTorn && this.#waits < TORN_LINE_WAITS);
    if (isWaitedFor) this.#idleTimer = setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
    else this.#tolerating(() => this.#digest(true));
    this.#hasGrown = false;
  }

  #end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    clearTimeout(this.#idleTimer);
    this.#watch.stop();
    this.#writeRest();
  }

  #writeRest(): void {
    this.#tolerating(() => {
      do this.#digest(true);
      while (this.#isPending);
    });
    if (this.#hold === undefined) this.#settle();
  }

  #settle(): void {
    this.#isOver = true;
    clearTimeout(this.#hold?.timer);
    this.#hold = undefined;
    this.#closeStage();
    this.#settled.resolve();
  }

  #closeStage(): void {
    this.#stageWrite.close();
    this.#ownStage?.read.close();
  }
}

// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import type { Fd } from "../linux/fd.ts";
import { bytesIn, dropFromPipe, moveToPipe, newStage, openWriteEnd, peekPipe } from "../linux/pipe.ts";
import { SyscallError } from "../linux/syscall.ts";
import type { BatchMarker } from "./batch-marker.ts";
import { hasRecords, type LineWriter, newLineWriter } from "./line-writer.ts";
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
 */

/** A line that has had no end for this long is written as far as it goes: a prompt, say. */
const IDLE_LINE_MS = 100;
/** Errors of a descriptor that is no pipe or terminal; others pass. */
const PERMANENT: ReadonlySet<number> = new Set([ERRNO.EBADF, ERRNO.EINVAL]);
/** After a failure, when nothing new comes, it is tried again this much later. */
const RETRY_MS = 1000;
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
  /** Settles when the output has ended, or was cancelled, and its last record is written. */
  readonly done: Promise<void>;
  poke(): void;
  cancel(): void;
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
  /** Bytes at the stage's beginning that listeners have heard of. */
  #told = 0;
  /** True while the stage has something that was not looked at to the end. */
  #isPending = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #hasGrown = false;
  #isOver = false;

  constructor(options: OutputSourceOptions) {
    this.#options = options;
    this.done = this.#settled.promise;
    const { file, stream, tty } = options;
    this.#lines = file === undefined ? undefined : newLineWriter(stream, tty, file);
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

  poke(): void {
    this.#watch.poke();
  }

  cancel(): void {
    this.#finish();
  }

  #poll(): PollResult {
    return this.#tolerating(() => this.#move()) ?? "empty";
  }

  /** A failure, of memory or of a file, loses nothing: what it concerns is still in pipe or stage. */
  #tolerating<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (err) {
      if (this.#isOver) return undefined;
      logger.error(
        { err, log: this.#options.file?.path },
        "output could not be moved to its log; trying again",
      );
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined;
        this.poke();
      }, RETRY_MS);
      return undefined;
    }
  }

  #move(): PollResult {
    if (this.#isPending) this.#digest(false);
    const moved = moveToPipe(this.#options.fd, this.#stageWrite.number);
    if (moved > 0) {
      this.#digest(false);
      return "data";
    }
    if (moved === -ERRNO.EAGAIN) return this.#makeRoom();
    // The master of a terminal whose other side is closed answers EIO: its end of file.
    const isEnd = moved === 0 || (this.#options.tty && moved === -ERRNO.EIO);
    if (!isEnd) {
      const cause = new SyscallError("splice", -moved);
      if (!PERMANENT.has(-moved)) throw cause;
      this.#settled.reject(
        new InternalError(`cannot read the output of a container: ${cause.message}`, { cause }),
      );
    }
    this.#finish();
    return "ended";
  }

  /** Nothing could be moved: because nothing is there, or because small pieces of one line fill the stage. */
  #makeRoom(): PollResult {
    if (this.#seen === 0 || bytesIn(this.#options.fd) === 0) return "empty";
    this.#digest(true);
    return "data";
  }

  /** Writes what the stage has: whole lines, or with `all` the beginning of one too. */
  #digest(all: boolean): void {
    this.#isPending = true;
    const content = peekPipe(this.#stageFd);
    if (content.length > this.#told) this.#options.tell(content.subarray(this.#told));
    this.#told = content.length;
    const input = Buffer.from(content.buffer, content.byteOffset, content.length);
    const covered = this.#write(input, all);
    if (covered > 0) {
      dropFromPipe(this.#stageFd, covered);
      this.#told -= covered;
      this.#options.marker?.clear();
    }
    this.#isPending = false;
    this.#hasGrown = true;
    this.#seen = input.length - covered;
    if (this.#seen > 0 && !this.#isOver)
      this.#idleTimer ??= setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
  }

  #write(input: Buffer, all: boolean): number {
    const { file, marker, stream } = this.#options;
    if (file === undefined || this.#lines === undefined) return input.length;
    if (input.length === 0 || (!all && !hasRecords(input, this.#seen))) return 0;
    const { inode, sizeBytes } = file.status();
    marker?.open(STREAM_INDEX[stream], inode, sizeBytes, input.length);
    if (!all) return this.#lines.write(input, this.#seen);
    this.#lines.writeAll(input);
    return input.length;
  }

  #writeIdle(): void {
    this.#idleTimer = undefined;
    if (this.#isOver || this.#seen === 0) return;
    if (this.#hasGrown) this.#idleTimer = setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
    else this.#tolerating(() => this.#digest(true));
    this.#hasGrown = false;
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#idleTimer);
    clearTimeout(this.#retryTimer);
    this.#watch.stop();
    this.#tolerating(() => this.#digest(true));
    this.#closeStage();
    this.#settled.resolve();
  }

  #closeStage(): void {
    this.#stageWrite.close();
    this.#ownStage?.read.close();
  }
}

// SPDX-License-Identifier: Apache-2.0
import { InternalError, messageOf } from "../errors.ts";
import { assert } from "../lib/assert.ts";
import { LINE_FEED, LINE_LIMIT_BYTES, LogFile, type LogStream } from "./log-file.ts";

/** Hears the raw bytes of a stream before they become lines; synchronous, so it queues nothing here. */
export type LogListener = (stream: LogStream, chunk: Uint8Array) => void;

/** One descriptor being read. */
export type LogSource = {
  /** Settles when the stream has ended, or was cancelled, and its last record is written. */
  readonly done: Promise<void>;
  /** Stops reading, for a writer that will not end; what was read is kept. */
  cancel(): void;
};

export type ContainerLog = {
  /**
   * Reads `fd`, the non-blocking read end of a pipe or master of a pseudo-terminal, to its end; throws
   * when it is neither. The descriptor stays the caller's, who may close it once `done` has settled.
   */
  attach(stream: LogStream, fd: number): LogSource;
  /** Adds an observer of all streams; the answer removes it. One that throws is removed too. */
  subscribe(listener: LogListener): () => void;
  /**
   * Opens the path again, after somebody renamed the file: on return it exists, and the renamed file
   * ends with a whole record and never grows. On failure the old file stays in use.
   */
  reopen(): void;
  /** Resolves when every attached stream has ended. */
  drain(): Promise<void>;
  /** Stops reading, writes what is unterminated and closes the file. */
  close(): Promise<void>;
  /** Bytes of records that could not be written, for a full disk or the like. */
  readonly droppedBytes: number;
};

const CARRIAGE_RETURN = 13;
/** A line that has had no end for this long is written as far as it goes. */
const IDLE_LINE_MS = 100;

/**
 * The log of one container in the CRI format, `<time> <stdout|stderr> <F|P> <content>\n`, appended to
 * `path`; directories above are made. An empty path keeps no log but still reads and tells listeners.
 * With `tty` the carriage return that a terminal puts before each line feed is dropped.
 */
export function openContainerLog(path: string, options: { readonly tty?: boolean } = {}): ContainerLog {
  const file = path === "" ? undefined : new LogFile(path);
  const listeners = new Set<LogListener>();
  const sources = new Set<LogSource>();
  let isClosed = false;
  const tell = (stream: LogStream, chunk: Uint8Array) => {
    for (const listener of listeners) {
      try {
        listener(stream, chunk);
      } catch {
        listeners.delete(listener);
      }
    }
  };
  const drain = async () => {
    await Promise.allSettled([...sources].map(({ done }) => done));
  };
  return {
    attach(stream, fd) {
      assert(!isClosed, "a closed log is not attached to");
      const lines = new LineWriter(stream, options.tty ?? false, file);
      const reader = readerOf(fd);
      const done = pump(reader, (chunk) => {
        tell(stream, chunk);
        lines.write(chunk);
      }).finally(() => {
        lines.end();
        sources.delete(source);
      });
      // Somebody who only drains or closes is not to be hit by an unhandled rejection.
      done.catch(() => {});
      const source: LogSource = { done, cancel: () => void reader.cancel().catch(() => {}) };
      sources.add(source);
      return source;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    reopen() {
      assert(!isClosed, "a closed log is not reopened");
      file?.reopen();
    },
    drain,
    async close() {
      if (isClosed) return;
      isClosed = true;
      for (const source of sources) source.cancel();
      await drain();
      file?.close();
    },
    get droppedBytes() {
      return file?.droppedBytes ?? 0;
    },
  };
}

type Reader = ReturnType<typeof readerOf>;

function readerOf(fd: number) {
  try {
    return Bun.file(fd).stream().getReader();
  } catch (error) {
    throw readError(error);
  }
}

function readError(error: unknown): InternalError {
  return new InternalError(`cannot read the output of a container: ${messageOf(error)}`, { cause: error });
}

/** Hands each chunk on until the end of the stream, which for a pseudo-terminal is the error EIO. */
async function pump(reader: Reader, onChunk: (chunk: Uint8Array) => void): Promise<void> {
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onChunk(value);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EIO") throw readError(error);
  }
}

/** Cuts the chunks of one stream into records. A line not yet ended is carried to the next chunk. */
class LineWriter {
  readonly #stream: LogStream;
  readonly #tty: boolean;
  readonly #file: LogFile | undefined;
  #carried: Buffer = Buffer.alloc(0);
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #hasGrown = false;

  constructor(stream: LogStream, tty: boolean, file: LogFile | undefined) {
    this.#stream = stream;
    this.#tty = tty;
    this.#file = file;
  }

  write(chunk: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) return;
    const searchFrom = this.#carried.length;
    const fresh = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const input = searchFrom === 0 ? fresh : Buffer.concat([this.#carried, fresh]);
    file.begin(this.#stream);
    let start = 0;
    let lineFeed = input.indexOf(LINE_FEED, searchFrom);
    while (lineFeed >= 0) {
      const end =
        this.#tty && input[lineFeed - 1] === CARRIAGE_RETURN && lineFeed > start ? lineFeed - 1 : lineFeed;
      start = this.#fullRecords(file, input, start, end);
      file.append("F", input, start, end);
      start = lineFeed + 1;
      lineFeed = input.indexOf(LINE_FEED, start);
    }
    // A trailing carriage return may yet turn out to be the terminal's, and then does not count.
    const uncounted = this.#tty && input[input.length - 1] === CARRIAGE_RETURN ? 1 : 0;
    start = this.#fullRecords(file, input, start, input.length - uncounted);
    file.flush();
    // A copy, since a slice would keep the whole chunk.
    this.#carried = start === input.length ? Buffer.alloc(0) : Buffer.from(input.subarray(start));
    this.#hasGrown = true;
    if (this.#carried.length > 0) this.#idleTimer ??= setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
  }

  /**
   * A prompt, or the beginning of a line whose end takes its time, is written as a partial record:
   * somebody may be waiting to read it, and a daemon that is killed must not take it along.
   */
  #writeIdle(): void {
    this.#idleTimer = undefined;
    if (this.#carried.length === 0) return;
    if (this.#hasGrown) this.#idleTimer = setTimeout(() => this.#writeIdle(), IDLE_LINE_MS);
    else this.end();
    this.#hasGrown = false;
  }

  /** The stream has ended: what has no line feed is written as a partial record. */
  end(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    const rest = this.#carried;
    this.#carried = Buffer.alloc(0);
    if (this.#file === undefined || rest.length === 0) return;
    this.#file.begin(this.#stream);
    const start = this.#fullRecords(this.#file, rest, 0, rest.length);
    this.#file.append("P", rest, start, rest.length);
    this.#file.flush();
  }

  /** Writes records of full length while more than that is left; answers where the rest starts. */
  #fullRecords(file: LogFile, input: Buffer, from: number, end: number): number {
    let start = from;
    for (; end - start > LINE_LIMIT_BYTES; start += LINE_LIMIT_BYTES) {
      file.append("P", input, start, start + LINE_LIMIT_BYTES);
    }
    return start;
  }
}

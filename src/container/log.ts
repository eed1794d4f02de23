// SPDX-License-Identifier: Apache-2.0
import { assert } from "../lib/assert.ts";
import { BatchMarker } from "./batch-marker.ts";
import { LogFile, type LogStream } from "./log-file.ts";
import { type OutputSource, startOutputSource } from "./output-source.ts";

/** Hears the raw bytes of a stream before they become lines; synchronous, so it queues nothing here. */
export type LogListener = (stream: LogStream, chunk: Uint8Array) => void;

export interface ContainerLogOptions {
  readonly tty?: boolean;
  readonly markerPath?: string;
}

/**
 * The log of one container in the CRI format, `<time> <stdout|stderr> <F|P> <content>\n`, appended to
 * `path`; directories above are made. An empty path keeps no log but still reads and tells listeners.
 * With `tty` the carriage return that a terminal puts before each line feed is dropped. `markerPath` is
 * where a batch under way is noted for a daemon that comes later.
 */
export class ContainerLog {
  readonly #tty: boolean;
  readonly #file: LogFile | undefined;
  readonly #marker: BatchMarker | undefined;
  readonly #listeners = new Set<LogListener>();
  readonly #sources = new Set<OutputSource>();
  #isClosed = false;

  constructor(path: string, { tty = false, markerPath }: ContainerLogOptions = {}) {
    this.#tty = tty;
    this.#file = path === "" ? undefined : new LogFile(path);
    this.#marker = openMarker(markerPath, this.#file);
  }

  /** True while output waits in its pipe because the file cannot be written, as on a full disk. */
  get isHeldBack(): boolean {
    return [...this.#sources].some((source) => source.isHeldBack);
  }

  /**
   * Reads `fd`, the non-blocking read end of a pipe or master of a pseudo-terminal, to its end; throws
   * when it is neither. The descriptor stays the caller's, who may close it once `done` has settled.
   * `stageFd` is the read end of a pipe in which output waits until it is in the log, for a daemon that
   * may be killed (container/output-source.ts).
   */
  attach(stream: LogStream, fd: number, stageFd?: number): OutputSource {
    assert(!this.#isClosed, "a closed log is not attached to");
    const source = startOutputSource({
      stream,
      fd,
      stageFd,
      file: this.#file,
      marker: this.#marker,
      tty: this.#tty,
      tell: (chunk) => this.#tell(stream, chunk),
    });
    this.#sources.add(source);
    const forget = () => void this.#sources.delete(source);
    // Somebody who only drains or closes is not to be hit by an unhandled rejection.
    source.done.then(forget, forget);
    return source;
  }

  /** Looks for output now: the container has ended. */
  poke(): void {
    for (const source of this.#sources) source.poke();
  }

  /** Adds an observer of all streams; the answer removes it. One that throws is removed too. */
  subscribe(listener: LogListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Opens the path again, after somebody renamed the file: on return it exists, and the renamed file
   * ends with a whole record and never grows. On failure the old file stays in use.
   */
  reopen(): void {
    assert(!this.#isClosed, "a closed log is not reopened");
    this.#file?.reopen();
  }

  /** Resolves when every attached stream has ended. */
  async drain(): Promise<void> {
    await Promise.allSettled([...this.#sources].map(({ done }) => done));
  }

  /** Stops reading, writes what is unterminated and closes the file; what cannot be written now never is. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const source of this.#sources) source.abandon();
    await this.drain();
    this.#file?.close();
    this.#marker?.close();
  }

  #tell(stream: LogStream, chunk: Uint8Array): void {
    if (this.#listeners.size === 0) return;
    // The chunk is a view of a buffer that the next one overwrites.
    const copy = chunk.slice();
    for (const listener of this.#listeners) {
      try {
        listener(stream, copy);
      } catch {
        this.#listeners.delete(listener);
      }
    }
  }
}

/** Closes the log's file where the marker cannot be opened. */
function openMarker(path: string | undefined, file: LogFile | undefined): BatchMarker | undefined {
  if (path === undefined) return undefined;
  try {
    return new BatchMarker(path);
  } catch (error) {
    file?.close();
    throw error;
  }
}

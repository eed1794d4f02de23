// SPDX-License-Identifier: Apache-2.0
import { assert } from "../lib/assert.ts";
import { type BatchMarker, openBatchMarker } from "./batch-marker.ts";
import { LogFile, type LogStream } from "./log-file.ts";
import { type OutputSource, startOutputSource } from "./output-source.ts";

/** Hears the raw bytes of a stream before they become lines; synchronous, so it queues nothing here. */
export type LogListener = (stream: LogStream, chunk: Uint8Array) => void;

export type ContainerLog = {
  /**
   * Reads `fd`, the non-blocking read end of a pipe or master of a pseudo-terminal, to its end; throws
   * when it is neither. The descriptor stays the caller's, who may close it once `done` has settled.
   * `stageFd` is the read end of a pipe in which output waits until it is in the log, for a daemon that
   * may be killed (container/output-source.ts).
   */
  attach(stream: LogStream, fd: number, stageFd?: number): OutputSource;
  /** Looks for output now: the container has ended. */
  poke(): void;
  /** Adds an observer of all streams; the answer removes it. One that throws is removed too. */
  subscribe(listener: LogListener): () => void;
  /**
   * Opens the path again, after somebody renamed the file: on return it exists, and the renamed file
   * ends with a whole record and never grows. On failure the old file stays in use.
   */
  reopen(): void;
  /** Resolves when every attached stream has ended. */
  drain(): Promise<void>;
  /** Stops reading, writes what is unterminated and closes the file; what cannot be written now never is. */
  close(): Promise<void>;
  /** True while output waits in its pipe because the file cannot be written, as on a full disk. */
  readonly isHeldBack: boolean;
};

/**
 * The log of one container in the CRI format, `<time> <stdout|stderr> <F|P> <content>\n`, appended to
 * `path`; directories above are made. An empty path keeps no log but still reads and tells listeners.
 * With `tty` the carriage return that a terminal puts before each line feed is dropped. `markerPath` is
 * where a batch under way is noted for a daemon that comes later.
 */
export function openContainerLog(
  path: string,
  options: { readonly tty?: boolean; readonly markerPath?: string } = {},
): ContainerLog {
  const file = path === "" ? undefined : new LogFile(path);
  const listeners = new Set<LogListener>();
  const sources = new Set<OutputSource>();
  const marker = openMarker(options.markerPath, file);
  let isClosed = false;
  const tell = (stream: LogStream, chunk: Uint8Array) => {
    if (listeners.size === 0) return;
    // The chunk is a view of a buffer that the next one overwrites.
    const copy = chunk.slice();
    for (const listener of listeners) {
      try {
        listener(stream, copy);
      } catch {
        listeners.delete(listener);
      }
    }
  };
  const drain = async () => {
    await Promise.allSettled([...sources].map(({ done }) => done));
  };
  return {
    attach(stream, fd, stageFd) {
      assert(!isClosed, "a closed log is not attached to");
      const source = startOutputSource({
        stream,
        fd,
        stageFd,
        file,
        marker,
        tty: options.tty ?? false,
        tell: (chunk) => tell(stream, chunk),
      });
      sources.add(source);
      // Somebody who only drains or closes is not to be hit by an unhandled rejection.
      source.done.catch(() => {}).finally(() => sources.delete(source));
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
    poke() {
      for (const source of sources) source.poke();
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      for (const source of sources) source.abandon();
      await drain();
      file?.close();
      marker?.close();
    },
    get isHeldBack() {
      return [...sources].some((source) => source.isHeldBack);
    },
  };
}

/** Closes the log's file where the marker cannot be opened. */
function openMarker(path: string | undefined, file: LogFile | undefined): BatchMarker | undefined {
  if (path === undefined) return undefined;
  try {
    return openBatchMarker(path);
  } catch (error) {
    file?.close();
    throw error;
  }
}

// SPDX-License-Identifier: Apache-2.0
import { CanceledError, DeadlineExceededError, messageOf } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { logger } from "../lib/logger.ts";
import type { InputStream, OutputStream } from "./byte-stream.ts";
import { idleTimer } from "./idle-timer.ts";
import type { Session } from "./session.ts";
import { encodeStatus, exitStatus, failureStatus, type Status, SUCCESS } from "./status.ts";
import { readSizes } from "./terminal-sizes.ts";

/** A client's streams of an exec or attach, whatever carries them; absent ones were not asked for. */
export interface CommandStreams {
  readonly stdin: InputStream | undefined;
  readonly stdout: OutputStream | undefined;
  readonly stderr: OutputStream | undefined;
  readonly resize: InputStream | undefined;
  readonly error: OutputStream;
  /** Whether the client expects Status objects on the error stream. */
  readonly hasStatusObjects: boolean;
  /** Settles when the client has gone. */
  readonly closed: Promise<void>;
  /** Ends the connection in good order. */
  close(): Promise<void>;
}

export interface CommandOptions {
  /** Launches the command, or connects to the container. */
  readonly start: () => Promise<Session>;
  /** An attach ends with success whatever the exit code is, which is the container's. */
  readonly endsWithExitCode: boolean;
  /** A session in which nothing is written in either direction for so long is ended. */
  readonly idleLimitMs: number;
  /** Ends the session: the daemon stops. */
  readonly signal: AbortSignal;
}

// A client that does not take the last words is not waited for.
const LAST_WORDS_TIMEOUT_MS = 1000;

/**
 * Joins a client with a process in a container until the process ends, the client has gone, or one of the
 * options' limits is hit, and tells the client which. Never rejects.
 */
export async function serveCommand(streams: CommandStreams, options: CommandOptions): Promise<void> {
  let session: Session;
  try {
    session = await options.start();
  } catch (error) {
    await lastWords(streams, failureStatus(error));
    return;
  }
  const over = Promise.withResolvers<never>();
  // It may also come when nothing waits any more.
  over.promise.catch(() => {});
  const idle = idleTimer(options.idleLimitMs, () =>
    over.reject(
      new DeadlineExceededError(`nothing was written in this session for ${options.idleLimitMs} ms`),
    ),
  );
  const onAbort = () => over.reject(new CanceledError("podrt serve is shutting down"));
  options.signal.addEventListener("abort", onAbort, { once: true });
  if (options.signal.aborted) onAbort();
  let isSaid = false;
  void streams.closed.then(() => isSaid || over.reject(new CanceledError("the client has left")));
  // Also while a client takes no output, and the loop over it stands still.
  session.exited.catch(over.reject);
  try {
    void passInput(session, streams, idle.touch);
    void passSizes(session, streams);
    await Promise.race([passOutput(session, streams, idle.touch), over.promise]);
    const exitCode = await Promise.race([session.exited, over.promise]);
    isSaid = true;
    const status = options.endsWithExitCode ? exitStatus(exitCode) : SUCCESS;
    await Promise.race([say(streams, status), over.promise]);
  } catch (error) {
    logger.debug({ error: messageOf(error) }, "a session was cut off");
    session.close();
    await lastWords(streams, failureStatus(error));
  } finally {
    session.close();
    idle.stop();
    options.signal.removeEventListener("abort", onAbort);
  }
}

/** Ends the output, then says how it ended, then closes: clients rely on the order. */
async function say(streams: CommandStreams, status: Status): Promise<void> {
  await streams.stdout?.end();
  await streams.stderr?.end();
  const text = encodeStatus(status, streams.hasStatusObjects);
  if (text.length > 0) await streams.error.write(text);
  await streams.error.end();
  await streams.close();
}

async function lastWords(streams: CommandStreams, status: Status): Promise<void> {
  try {
    await withDeadline(say(streams, status), LAST_WORDS_TIMEOUT_MS, "telling the client of the end");
  } catch (error) {
    logger.debug({ error: messageOf(error) }, "a client was not told how its session ended");
  }
}

async function passOutput(session: Session, streams: CommandStreams, touch: () => void): Promise<void> {
  for await (const { stream, data, room } of session.output) {
    touch();
    await streams[stream]?.write(data, room);
  }
}

async function passInput(session: Session, { stdin }: CommandStreams, touch: () => void): Promise<void> {
  try {
    for await (const data of stdin?.incoming ?? []) {
      touch();
      await session.write(data);
    }
    if (stdin !== undefined) session.closeStdin();
  } catch (error) {
    // Cut off with the connection, which ends the session.
    logger.debug({ error: messageOf(error) }, "input of a session ended early");
  }
}

async function passSizes(session: Session, { resize }: CommandStreams): Promise<void> {
  try {
    for await (const { width, height } of readSizes(resize?.incoming ?? [])) session.resize(width, height);
  } catch (error) {
    logger.debug({ error: messageOf(error) }, "sizes of a terminal ended early");
  }
}

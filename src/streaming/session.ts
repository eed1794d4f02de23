// SPDX-License-Identifier: Apache-2.0
import { closeStdin } from "../container/close-stdin.ts";
import { type ExecRequest, startExec } from "../container/exec.ts";
import { containerConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { runningContainer } from "../container/status.ts";
import { CanceledError, FailedPreconditionError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import type { Fd } from "../linux/fd.ts";
import { resizeTerminal } from "../linux/pty.ts";
import { newBacklog } from "./backlog.ts";
import { type OutputChunk, readOutputs } from "./output.ts";
import { newStdinWriter, type StdinWriter } from "./stdin-writer.ts";

/** A person's or program's end of an exec, or of a container that it is attached to. */
export interface Session {
  /** Ends when all output was delivered. To be read once. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when the bytes are in the pipe: waiting for it is the back-pressure. */
  write(data: Uint8Array): Promise<void>;
  /** Behind what was written, stdin ends; of a container only where it was made to be attached to once. */
  closeStdin(): void;
  resize(width: number, height: number): void;
  /** The exit code of the process. Of an attach it rejects when the session ends before the container. */
  readonly exited: Promise<number>;
  /** Ends the session and frees what it has: an exec is killed, an attached container goes on. Idempotent. */
  close(): void;
}

// What a client has sent before it left is given to a container that reads within this.
const LAST_INPUT_TIMEOUT_MS = 1000;

/** Runs a command in a container and connects to its stdio. */
export async function openExec(
  runtime: Runtime,
  containerId: string,
  request: ExecRequest,
): Promise<Session> {
  const exec = await startExec(runtime, containerId, request);
  const { stdin, terminal } = exec;
  const input = stdin === undefined ? undefined : newStdinWriter(stdin);
  const output = readOutputs([
    { stream: "stdout", fd: exec.stdout },
    ...(exec.stderr === undefined ? [] : [{ stream: "stderr" as const, fd: exec.stderr }]),
  ]);
  const release = () => {
    input?.stop();
    stdin?.close();
    terminal?.close();
  };
  let hasEnded = false;
  const ended = exec.exited.then((exitCode) => {
    hasEnded = true;
    release();
    output.finish();
    return exitCode;
  });
  return {
    output: output.chunks,
    write: async (data) => input?.write(data),
    closeStdin: () => {
      // A terminal has no end of file but the character that the person types.
      if (!request.tty) void input?.flushed().then(() => stdin?.close());
    },
    resize: (width, height) => resize(terminal, width, height),
    exited: ended,
    close: () => {
      if (!hasEnded) void exec.kill();
      release();
      output.stop();
    },
  };
}

/**
 * Connects to a running container's own stdio, from now on; any number of sessions may. Each has a backlog
 * of its own, so none holds back the container, its log or the others. With `stdin` the session may write,
 * and in a container whose stdin is for one session its end is the end of the container's stdin.
 */
export async function openAttach(
  runtime: Runtime,
  containerId: string,
  request: { readonly stdin: boolean },
): Promise<Session> {
  const record = runningContainer(runtime, containerId);
  const live = runtime.live.get(containerId);
  if (live?.log === undefined) throw new FailedPreconditionError(`container ${containerId} has just ended`);
  const { stdinOnce, tty } = containerConfig(record);
  const backlog = newBacklog(runtime.paths.ingestDir);
  const unsubscribe = live.log.subscribe((stream, data) => backlog.push({ stream, data }));
  const input = request.stdin && live.stdin !== undefined ? newStdinWriter(live.stdin) : undefined;
  let endsStdin = input !== undefined && stdinOnce && !tty;
  const endStdin = async () => {
    if (!endsStdin) return;
    endsStdin = false;
    await closeStdin(runtime, containerId).catch((err) =>
      runtime.log.warn({ err, container: containerId }, "the stdin of a container was not closed"),
    );
  };
  const over = Promise.withResolvers<number>();
  over.promise.catch(() => {});
  const stopListening = runtime.events.subscribe((event) => {
    if (event.type !== "stopped" || event.containerId !== containerId) return;
    endsStdin = false;
    detach();
    over.resolve(runtime.containers.get(containerId)?.exitCode ?? 0);
  });
  const detach = () => {
    stopListening();
    unsubscribe();
    backlog.end();
  };
  void backlog.failed.then(over.reject);
  return {
    output: backlog.chunks,
    write: async (data) => input?.write(data),
    closeStdin: () => void input?.flushed().then(endStdin),
    resize: (width, height) => resize(live.terminal, width, height),
    exited: over.promise,
    close: () => {
      over.reject(new CanceledError(`the session with container ${containerId} was closed`));
      detach();
      backlog.stop();
      if (input !== undefined) void stopInput(input).then(endStdin);
    },
  };
}

async function stopInput(input: StdinWriter): Promise<void> {
  await Promise.race([input.flushed(), sleep(LAST_INPUT_TIMEOUT_MS)]);
  input.stop();
}

function resize(terminal: Fd | undefined, width: number, height: number): void {
  if (terminal?.isOpen) resizeTerminal(terminal, width, height);
}

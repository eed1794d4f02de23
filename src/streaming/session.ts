// SPDX-License-Identifier: Apache-2.0

import { closeStdin } from "../container/close-stdin.ts";
import { type ExecRequest, startExec as launchExec, runningContainer } from "../container/exec.ts";
import { containerConfig } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import { exited } from "../container/stop.ts";
import { FailedPreconditionError } from "../errors.ts";
import { resizeTerminal } from "../linux/pty.ts";
import { newOutputQueue, type OutputChunk, readOutputs } from "./output.ts";
import { openStdinWriter } from "./stdin-writer.ts";

/** A person's or program's end of an exec, or of a container that it is attached to. */
export interface Session {
  /** Ends when all output was delivered. An attached reader that falls too far behind is cut off. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when the bytes are in the pipe: waiting for it is the back-pressure. */
  write(data: Uint8Array): Promise<void>;
  closeStdin(): void;
  resize(width: number, height: number): void;
  /** The exit code of the process. */
  readonly exited: Promise<number>;
  /** Ends the session: an exec is killed, an attached container goes on. */
  close(): void;
}

// Output that is still in the pipe after a command has ended; longer means that a child of it has the pipe.
const DRAIN_TIMEOUT_MS = 1000;
// A container may be attached to for as long as it lives.
const FOR_EVER_MS = 2 ** 31 - 1;

/** Runs a command in a container and connects to its stdio. */
export async function startExec(
  runtime: Runtime,
  containerId: string,
  request: ExecRequest,
): Promise<Session> {
  const exec = await launchExec(runtime, containerId, request);
  const stdin = exec.stdin === undefined ? undefined : openStdinWriter(exec.stdin, { terminal: request.tty });
  const output = readOutputs([
    { stream: "stdout", fd: exec.stdout },
    ...(exec.stderr === undefined ? [] : [{ stream: "stderr" as const, fd: exec.stderr }]),
  ]);
  const ended = exec.exited.then((exitCode) => {
    stdin?.close();
    exec.terminal?.close();
    setTimeout(() => output.stop(), DRAIN_TIMEOUT_MS).unref();
    return exitCode;
  });
  return {
    output: output.chunks,
    write: async (data) => stdin?.write(data),
    closeStdin: () => {
      // A terminal has no end of file but the character that the person types.
      if (!request.tty) stdin?.close();
    },
    resize: (width, height) => {
      if (exec.terminal?.isOpen) resizeTerminal(exec.terminal, width, height);
    },
    exited: ended,
    close: () => {
      void exec.kill();
      output.stop();
    },
  };
}

/** Connects to a running container's own stdio, from now on. */
export async function attach(runtime: Runtime, containerId: string): Promise<Session> {
  const record = runningContainer(runtime, containerId);
  const live = runtime.live.get(containerId);
  if (live?.log === undefined) throw new FailedPreconditionError(`container ${containerId} has just ended`);
  const { stdinOnce, tty } = containerConfig(record);
  const queue = newOutputQueue();
  const unsubscribe = live.log.subscribe((stream, data) => queue.push({ stream, data }));
  const stdin =
    live.stdin === undefined ? undefined : openStdinWriter(live.stdin.duplicate(), { terminal: tty });
  let isClosed = false;
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    unsubscribe();
    queue.end();
    stdin?.close();
  };
  const ended = exited(runtime, containerId, FOR_EVER_MS).then(() => {
    close();
    return runtime.containers.get(containerId)?.exitCode ?? 0;
  });
  return {
    output: queue.chunks,
    write: async (data) => stdin?.write(data),
    closeStdin: () => {
      if (stdinOnce && !tty) void closeStdin(runtime, record);
    },
    resize: (width, height) => {
      if (live.terminal?.isOpen) resizeTerminal(live.terminal, width, height);
    },
    exited: ended,
    close,
  };
}

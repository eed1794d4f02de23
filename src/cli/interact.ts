// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import { UnavailableError } from "../errors.ts";
import type { StreamOutput, TerminalSizeSchema } from "../gen/podrt/v1/podrt_pb.ts";
import { ExitCode } from "./exit-code.ts";
import { type InputQueue, inputQueue } from "./input-queue.ts";
import type { Io, Terminal } from "./io.ts";

/** What follows the first message; Exec and Attach have the same. */
export type InputMessage =
  | { readonly case: "stdin"; readonly value: Uint8Array }
  | { readonly case: "stdinClosed"; readonly value: true }
  | { readonly case: "resize"; readonly value: MessageInitShape<typeof TerminalSizeSchema> };

export interface Interaction<S> {
  readonly io: Io;
  readonly start: S;
  readonly passStdin: boolean;
  /** The terminal to be put into raw mode; undefined when there is none or none is wanted. */
  readonly terminal: Terminal | undefined;
  /** Whether Ctrl-P Ctrl-Q leaves. */
  readonly canLeave: boolean;
  /** Calls the daemon. */
  readonly call: (
    requests: AsyncIterable<{ message: Start<S> | InputMessage }>,
    signal: AbortSignal,
  ) => AsyncIterable<StreamOutput>;
}
type Start<S> = { readonly case: "start"; readonly value: S };

/** Left with Ctrl-P Ctrl-Q: what runs there goes on. */
export const LEFT = "left";

/**
 * Joins this process's streams with a process in a container. Answers the exit code of that process,
 * or LEFT. The terminal is as it was before whenever this returns or throws.
 */
export async function interact<S>(interaction: Interaction<S>): Promise<number | typeof LEFT> {
  const { io, terminal, passStdin } = interaction;
  const queue = inputQueue<{ message: Start<S> | InputMessage }>();
  const call = new AbortController();
  let hasLeft = false;
  const leave = () => {
    hasLeft = true;
    call.abort();
  };
  const stopResizing = terminal?.onResize(() => {
    const size = terminal.size();
    if (size !== undefined) void queue.push({ message: { case: "resize", value: size } });
  });
  // It may have been interrupted before this began.
  const signal = AbortSignal.any([call.signal, io.interrupted]);
  const restore = rawMode(passStdin ? terminal : undefined);
  try {
    await queue.push({ message: { case: "start", value: interaction.start } });
    if (passStdin) void passInput(io.stdin, queue, interaction.canLeave ? leave : undefined);
    for await (const { message } of interaction.call(queue, signal)) {
      if (message.case === "stdout") await io.out(message.value);
      else if (message.case === "stderr") await io.err(message.value);
      else if (message.case === "exitCode") return message.value;
    }
    throw new UnavailableError("the daemon ended the session without an exit code");
  } catch (error) {
    if (hasLeft) return LEFT;
    if (io.interrupted.aborted) return ExitCode.interrupted;
    throw error;
  } finally {
    restore();
    stopResizing?.();
    queue.end();
    call.abort();
  }
}

/** Puts the terminal into raw mode; the answer undoes it, and so does the end of this process. */
function rawMode(terminal: Terminal | undefined): () => void {
  if (terminal === undefined) return () => {};
  const restore = () => {
    process.off("exit", restore);
    terminal.setRaw(false);
  };
  process.on("exit", restore);
  terminal.setRaw(true);
  return restore;
}

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/** Sends what is read until its end; `leave` is called instead when Ctrl-P Ctrl-Q is typed. */
async function passInput<M>(
  stdin: AsyncIterable<Uint8Array>,
  queue: InputQueue<M | { message: InputMessage }>,
  leave: (() => void) | undefined,
): Promise<void> {
  let wasCtrlP = false;
  try {
    for await (const data of stdin) {
      if (leave !== undefined) {
        for (const byte of data) {
          if (wasCtrlP && byte === CTRL_Q) return leave();
          wasCtrlP = byte === CTRL_P;
        }
      }
      await queue.push({ message: { case: "stdin", value: data } });
    }
  } catch {
    // Input that cannot be read (a terminal that hung up) has ended.
  }
  await queue.push({ message: { case: "stdinClosed", value: true } });
}

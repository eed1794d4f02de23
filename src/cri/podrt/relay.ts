// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { InvalidArgumentError, messageOf } from "../../errors.ts";
import { type StreamOutput, StreamOutputSchema, type TerminalSize } from "../../gen/podrt/v1/podrt_pb.ts";
import { logger } from "../../lib/logger.ts";
import type { Session } from "../../streaming/session.ts";

/** What a caller sends after its first message; the same for Exec and Attach. */
export type StreamInput =
  | { readonly case: "stdin"; readonly value: Uint8Array }
  | { readonly case: "stdinClosed"; readonly value: boolean }
  | { readonly case: "resize"; readonly value: TerminalSize }
  | { readonly case: "start"; readonly value: unknown }
  | { readonly case: undefined; readonly value?: undefined };

/** The first message of a stream, which must be `start`. */
export async function firstMessage<
  S,
  M extends { readonly message: { case: string | undefined; value?: unknown } },
>(requests: AsyncIterator<M>): Promise<S> {
  const { value, done } = await requests.next();
  if (done || value.message.case !== "start") {
    throw new InvalidArgumentError("start", "is required as the first message of the stream");
  }
  return value.message.value as S;
}

/**
 * Passes input to the session and its output back until the process has ended, which the last message
 * says. The caller's leaving closes the session.
 */
export async function* relay(
  session: Session,
  requests: AsyncIterator<{ readonly message: StreamInput }>,
  signal: AbortSignal,
): AsyncGenerator<StreamOutput> {
  const close = () => session.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    void passInput(session, requests);
    for await (const { stream, data } of session.output) {
      // A copy: the bytes are somebody else's when the next are asked for.
      yield create(StreamOutputSchema, { message: { case: stream, value: new Uint8Array(data) } });
    }
    const exitCode = await session.exited;
    yield create(StreamOutputSchema, { message: { case: "exitCode", value: exitCode } });
  } finally {
    signal.removeEventListener("abort", close);
    session.close();
  }
}

export function applySize(session: Session, size: TerminalSize | undefined): void {
  if (size !== undefined && size.width > 0 && size.height > 0) session.resize(size.width, size.height);
}

async function passInput(
  session: Session,
  requests: AsyncIterator<{ readonly message: StreamInput }>,
): Promise<void> {
  try {
    for (;;) {
      const { value, done } = await requests.next();
      if (done) return;
      const { message } = value;
      if (message.case === "stdin") await session.write(message.value);
      else if (message.case === "stdinClosed") session.closeStdin();
      else if (message.case === "resize") applySize(session, message.value);
    }
  } catch (error) {
    // The process has closed its stdin, or the caller has left: the output says how it goes on.
    logger.debug({ error: messageOf(error) }, "input of a session ended early");
  }
}

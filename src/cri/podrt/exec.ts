// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { ExecRequest, ExecStart, StreamOutput } from "../../gen/podrt/v1/podrt_pb.ts";
import { openExec } from "../../streaming/session.ts";
import { requireContainer } from "../lookup.ts";
import { checkCommand } from "../validate-fields.ts";
import { applySize, firstMessage, relay } from "./relay.ts";

export async function* execStream(
  runtime: Runtime,
  requests: AsyncIterable<ExecRequest>,
  signal: AbortSignal,
): AsyncGenerator<StreamOutput> {
  const iterator = requests[Symbol.asyncIterator]();
  const start = await firstMessage<ExecStart, ExecRequest>(iterator);
  checkCommand("start.command", start.command);
  const { id } = requireContainer(runtime, start.containerId);
  const { command, tty, stdin } = start;
  const session = await openExec(runtime, id, { command, tty, stdin });
  if (tty) applySize(session, start.size);
  yield* relay(session, iterator, signal);
}

// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../../container/runtime.ts";
import type { AttachRequest, AttachStart, StreamOutput } from "../../gen/podrt/v1/podrt_pb.ts";
import { openAttach } from "../../streaming/session.ts";
import { requireContainer } from "../lookup.ts";
import { applySize, firstMessage, relay } from "./relay.ts";

export async function* attachStream(
  runtime: Runtime,
  requests: AsyncIterable<AttachRequest>,
  signal: AbortSignal,
): AsyncGenerator<StreamOutput> {
  const iterator = requests[Symbol.asyncIterator]();
  const start = await firstMessage<AttachStart, AttachRequest>(iterator);
  const { id } = requireContainer(runtime, start.containerId);
  const session = await openAttach(runtime, id, { stdin: true });
  applySize(session, start.size);
  yield* relay(session, iterator, signal);
}

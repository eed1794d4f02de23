// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { netnsPathOf } from "../../container/network-namespace.ts";
import type { Runtime } from "../../container/runtime.ts";
import { InvalidArgumentError, UnavailableError } from "../../errors.ts";
import {
  type PortForwardReply,
  PortForwardReplySchema,
  type PortForwardRequest,
  type PortForwardStart,
} from "../../gen/podrt/v1/podrt_pb.ts";
import type { ByteStream } from "../../streaming/byte-stream.ts";
import { ChunkQueue } from "../../streaming/chunk-queue.ts";
import { forward } from "../../streaming/forward.ts";
import { connectToPod } from "../../streaming/pod-port.ts";
import { requireSandbox } from "../lookup.ts";
import { checkInteger } from "../validate-fields.ts";
import { firstMessage } from "./relay.ts";

/** What may wait for a caller that reads slowly before the pod is held back. */
const QUEUE_BYTES = 256 * 1024;
const MAX_PORT = 65_535;

export async function* portForwardStream(
  runtime: Runtime,
  requests: AsyncIterable<PortForwardRequest>,
): AsyncGenerator<PortForwardReply> {
  const iterator = requests[Symbol.asyncIterator]();
  const { podSandboxId, port } = await firstMessage<PortForwardStart, PortForwardRequest>(iterator);
  checkInteger("start.port", port, 1, MAX_PORT);
  const { id } = requireSandbox(runtime, podSandboxId);
  const socket = await connectToPod(netnsPathOf(runtime, id), port);
  using _ = { [Symbol.dispose]: () => void socket.destroy() };
  const { stream, output } = callerStream(iterator);
  // What fails is told by `output` instead, which is the caller's only stream.
  const error = { write: async () => {}, end: async () => {} };
  yield create(PortForwardReplySchema, { message: { case: "connected", value: true } });
  const done = forward({ port, data: stream, error }, { connect: async () => socket, touch: () => {} });
  try {
    for await (const data of output) {
      yield create(PortForwardReplySchema, { message: { case: "data", value: data } });
    }
    yield create(PortForwardReplySchema, { message: { case: "ended", value: true } });
    await done;
  } finally {
    // A caller that left: nobody waits for the pod any more.
    stream.cancel();
  }
}

/** The caller's end of the connection, and what is to be sent to it. */
function callerStream(requests: AsyncIterator<PortForwardRequest>): {
  readonly stream: ByteStream;
  readonly output: AsyncIterable<Uint8Array>;
} {
  let room = Promise.withResolvers<void>();
  let isOver = false;
  const tell = () => {
    room.resolve();
    room = Promise.withResolvers();
  };
  const queue = new ChunkQueue(tell);
  const stream: ByteStream = {
    incoming: dataOf(requests),
    async write(data) {
      queue.push(data);
      while (queue.bytes > QUEUE_BYTES && !isOver) await room.promise;
      if (isOver) throw new UnavailableError("the caller has left");
    },
    async end() {
      queue.end();
    },
    cancel() {
      isOver = true;
      queue.end(new UnavailableError("the connection was cut off"));
      tell();
    },
  };
  return { stream, output: queue };
}

async function* dataOf(requests: AsyncIterator<PortForwardRequest>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value, done } = await requests.next();
    if (done) return;
    if (value.message.case !== "data") throw new InvalidArgumentError("data", "is all that follows `start`");
    yield value.message.value;
  }
}

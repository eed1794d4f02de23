// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { ByteStream } from "./byte-stream.ts";
import { ChunkQueue } from "./chunk-queue.ts";

/** What may wait for a reader before the sender is held back. */
const QUEUE_BYTES = 256 * 1024;

/** A connected TCP socket that allows half-open connections, as a stream. */
export function streamOf(socket: Socket): ByteStream {
  const queue = new ChunkQueue(() => {
    if (socket.isPaused() && queue.bytes <= QUEUE_BYTES) socket.resume();
  });
  let failure: Error | undefined;
  socket.on("data", (data: Buffer) => {
    queue.push(data);
    if (queue.bytes > QUEUE_BYTES) socket.pause();
  });
  socket.on("end", () => queue.end());
  socket.on("error", (error) => {
    failure = error;
  });
  socket.on("close", () => queue.end(failure ?? new Error("the connection was closed")));
  const done = (give: (finish: (error?: Error | null) => void) => void) =>
    new Promise<void>((resolve, reject) => give((error) => (error ? reject(error) : resolve())));
  return {
    incoming: queue,
    write: (data) => done((finish) => socket.write(data, finish)),
    end: () => done((finish) => void (socket.destroyed ? finish() : socket.end(() => finish()))),
    // To a peer that has ended already, a reset would take what it has not read yet.
    cancel: () => void (socket.readableEnded ? socket.destroy() : socket.resetAndDestroy()),
  };
}

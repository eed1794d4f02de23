// SPDX-License-Identifier: Apache-2.0
import type { Duplex } from "node:stream";
import type { CommandProtocol } from "./protocols.ts";
import { type CommandOptions, serveCommand } from "./remote-command.ts";
import type { CommandRequest } from "./requests.ts";
import { type SpdyStream, serveSpdy } from "./spdy/connection.ts";

const STREAM_TYPES = ["error", "stdin", "stdout", "stderr", "resize"] as const;
type StreamType = (typeof STREAM_TYPES)[number];

/** What a client may have sent that nobody has read yet, before it is held back. */
const LIMITS = { maxStreams: 16, maxBufferedBytes: 256 * 1024, maxConnectionBufferedBytes: 512 * 1024 };
/** Status of RST_STREAM (SPDY/3.1, section 2.6.3). */
const PROTOCOL_ERROR = 1;

/** Serves an exec or attach on a connection that has become SPDY. Resolves when the connection is closed. */
export async function serveCommandOverSpdy(
  socket: Duplex,
  head: Uint8Array,
  request: CommandRequest,
  protocol: CommandProtocol,
  options: CommandOptions & { readonly streamCreationLimitMs: number; readonly closeTimeoutMs: number },
): Promise<void> {
  const wanted = new Set(STREAM_TYPES.filter((type) => isWanted(type, request, protocol)));
  const streams = new Map<StreamType, SpdyStream>();
  const complete = Promise.withResolvers<boolean>();
  const connection = serveSpdy(socket, {
    head,
    limits: { ...LIMITS, closeTimeoutMs: options.closeTimeoutMs },
    onStream(stream) {
      const type = STREAM_TYPES.find((name) => name === stream.headers.get("streamtype"));
      if (type === undefined || streams.has(type)) return stream.reset(PROTOCOL_ERROR);
      stream.accept();
      if (type !== "stdin" && type !== "resize") stream.discardIncoming();
      if (!wanted.has(type)) return ignore(stream);
      streams.set(type, stream);
      if (streams.size === wanted.size) complete.resolve(true);
    },
  });
  const expiry = setTimeout(() => complete.resolve(false), options.streamCreationLimitMs);
  void connection.closed.then(() => complete.resolve(false));
  const isComplete = await complete.promise;
  clearTimeout(expiry);
  const error = streams.get("error");
  if (isComplete && error !== undefined) {
    await serveCommand(
      {
        stdin: streams.get("stdin"),
        stdout: streams.get("stdout"),
        stderr: streams.get("stderr"),
        resize: streams.get("resize"),
        error,
        hasStatusObjects: protocol.hasStatusObjects,
        closed: connection.closed,
        close: () => connection.close(),
      },
      options,
    );
  }
  connection.destroy();
}

function isWanted(type: StreamType, request: CommandRequest, protocol: CommandProtocol): boolean {
  if (type === "error") return true;
  if (type === "resize") return request.tty && protocol.hasResize;
  return request[type];
}

/** A stream that the request did not ask for is no mistake that ends a session: it has nothing to carry. */
function ignore(stream: SpdyStream): void {
  stream.discardIncoming();
  // It fails with the connection, which ends the session.
  stream.end().catch(() => {});
}

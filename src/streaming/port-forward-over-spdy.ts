// SPDX-License-Identifier: Apache-2.0
import type { Duplex } from "node:stream";
import type { ByteStream } from "./byte-stream.ts";
import { type ForwardOptions, forward } from "./forward.ts";
import { type SpdyStream, serveSpdy } from "./spdy/connection.ts";

/** Statuses of RST_STREAM (SPDY/3.1, section 2.6.3). */
const PROTOCOL_ERROR = 1;
const REFUSED_STREAM = 3;
const CANCEL = 5;
/** Pairs at once on one connection; each has a socket in the pod. */
const MAX_PAIRS = 1000;
/** What a client may have sent on one connection that the pod has not read yet, before all are held back. */
const LIMITS = { maxStreams: 2 * MAX_PAIRS, maxBufferedBytes: 1024 * 1024 };

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
  readonly expiry: ReturnType<typeof setTimeout>;
}

export interface PortForwardOptions extends ForwardOptions {
  /** How long a client may take to open the second stream of a pair. */
  readonly streamCreationLimitMs: number;
}

/**
 * Serves port forwarding on a connection that has become SPDY, or on a tunnel for one: for each connection
 * the client opens a stream for errors and one for data. Resolves when the connection is closed.
 */
export async function servePortForwardOverSpdy(
  socket: Duplex,
  head: Uint8Array,
  options: PortForwardOptions,
): Promise<void> {
  const incomplete = new Map<string, Pair>();
  let pairs = 0;
  const connection = serveSpdy(socket, {
    head,
    limits: LIMITS,
    onStream(stream) {
      const type = stream.headers.get("streamtype");
      const port = portOf(stream);
      if ((type !== "error" && type !== "data") || port === undefined) return stream.reset(PROTOCOL_ERROR);
      const id = requestId(stream, type);
      const known = incomplete.get(id);
      if (known === undefined && pairs >= MAX_PAIRS) return stream.reset(REFUSED_STREAM);
      if (known?.[type] !== undefined) return stream.reset(PROTOCOL_ERROR);
      stream.accept();
      if (type === "error") stream.discardIncoming();
      const pair = known ?? { expiry: setTimeout(() => abandon(id), options.streamCreationLimitMs) };
      pair[type] = stream;
      if (known === undefined) {
        pairs++;
        incomplete.set(id, pair);
      }
      const { error, data } = pair;
      if (error === undefined || data === undefined) return;
      clearTimeout(pair.expiry);
      incomplete.delete(id);
      void forward({ port, error: cancellable(error), data: cancellable(data) }, options).then(() => {
        pairs--;
      });
    },
  });
  const abandon = (id: string) => {
    const pair = incomplete.get(id);
    if (!incomplete.delete(id)) return;
    pairs--;
    (pair?.error ?? pair?.data)?.reset(CANCEL);
  };
  await connection.closed;
  for (const { expiry } of incomplete.values()) clearTimeout(expiry);
}

function portOf(stream: SpdyStream): number | undefined {
  const text = stream.headers.get("port") ?? "";
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** Clients from before request ids open the data stream right after the error stream, whose id is two less. */
function requestId(stream: SpdyStream, type: "error" | "data"): string {
  const errorStreamId = type === "error" ? stream.id : stream.id - 2;
  return stream.headers.get("requestid") ?? `stream ${errorStreamId}`;
}

function cancellable(stream: SpdyStream): ByteStream {
  return {
    incoming: stream.incoming,
    write: (data) => stream.write(data),
    end: () => stream.end(),
    cancel: () => stream.reset(CANCEL),
  };
}

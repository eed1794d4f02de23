// SPDX-License-Identifier: Apache-2.0
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { UniversalClientRequest, UniversalClientResponse } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { MAX_MESSAGE_BYTES } from "../cri/message-limit.ts";

/** Disposing it ends the calls in progress. */
export interface UnaryTransport extends Pick<Transport, "unary">, Disposable {}

/** Unary calls over the unix socket at `socketPath`, in Connect's protocol over HTTP/1.1. */
export function unaryTransport(socketPath: string, interceptors: Interceptor[]): UnaryTransport {
  const closed = new AbortController();
  const { unary } = createTransport({
    baseUrl: "http://localhost",
    httpClient: (request) => ask(socketPath, request, closed.signal),
    interceptors,
    useBinaryFormat: true,
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: MAX_MESSAGE_BYTES,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
  });
  return { unary, [Symbol.dispose]: () => closed.abort() };
}

async function ask(
  unix: string,
  { url, method, header, body, signal }: UniversalClientRequest,
  closed: AbortSignal,
): Promise<UniversalClientResponse> {
  const parts: Uint8Array[] = [];
  for await (const part of body ?? []) parts.push(part);
  const response = await fetch(url, {
    unix,
    method,
    headers: header,
    body: Buffer.concat(parts),
    signal: signal === undefined ? closed : AbortSignal.any([signal, closed]),
    // A call has the deadline that its caller gives it, and no other.
    timeout: false,
  } as RequestInit);
  const { status, headers } = response;
  return { status, header: headers, body: response.body ?? none(), trailer: new Headers() };
}

async function* none(): AsyncGenerator<Uint8Array> {}

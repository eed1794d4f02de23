// SPDX-License-Identifier: Apache-2.0
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createFetchClient } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { ImageService, RuntimeService } from "../../../src/gen/runtime/v1/api_pb.ts";
import { patience } from "../../support/patience.ts";

/** Both services of the interface, called with JSON over the unix socket as `curl --unix-socket` would. */
export type Api = Client<typeof RuntimeService> & Client<typeof ImageService>;

/** A client of the daemon behind the socket. */
export function connectApi(socketPath: string): Api {
  const transport = unixTransport(socketPath);
  const services = [createClient(RuntimeService, transport), createClient(ImageService, transport)];
  return Object.assign({}, ...services) as Api;
}

/**
 * Connect over a unix socket, with JSON as a person with curl would send it. Each call connects anew, so that a
 * restart of the daemon needs no care.
 */
export function unixTransport(socketPath: string): Transport {
  // Otherwise fetch unpacks a compressed reply and hands it on with the header that says it is packed.
  const options = { unix: socketPath, keepalive: false, decompress: false };
  const unixFetch = ((input: Request) => fetch(input, options)) as typeof fetch;
  return createTransport({
    httpClient: createFetchClient(unixFetch),
    baseUrl: "http://localhost",
    useBinaryFormat: false,
    interceptors: [],
    acceptCompression: [compressionGzip],
    sendCompression: null,
    compressMinBytes: 1024,
    readMaxBytes: 16 * 1024 * 1024,
    writeMaxBytes: 16 * 1024 * 1024,
    defaultTimeoutMs: 60_000 * patience,
  });
}

/** A raw reply of the daemon to a JSON request: what a person with curl sees. */
export async function postJson(
  socketPath: string,
  method: string,
  body: unknown,
): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const service = method.includes("Image") ? "ImageService" : "RuntimeService";
  const response = await fetch(`http://localhost/runtime.v1.${service}/${method}`, {
    unix: socketPath,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal: AbortSignal.timeout(30_000 * patience),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

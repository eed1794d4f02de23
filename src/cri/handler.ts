// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import {
  Code,
  type ConnectRouter,
  createConnectRouter,
  createServiceImplSpec,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { MAX_MESSAGE_BYTES } from "./message-limit.ts";
import { MAX_TIMER_MS } from "./timeout.ts";
import { type TakeStream, unaryGrpc } from "./unary-grpc.ts";

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

const HEADER_TIMEOUT_UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };

export interface HandlerDeps {
  readonly routes: (router: ConnectRouter) => void;
  readonly interceptors: Interceptor[];
  /** Aborting it ends every call in progress. */
  readonly shutdownSignal: AbortSignal;
}

export interface RpcHandler {
  /** Any call, as gRPC, gRPC-Web and Connect; the same function for HTTP/1.1 and HTTP/2. */
  readonly request: (request: Request, response: Response) => void;
  /** Nearly all calls, with less ado. */
  readonly stream: TakeStream;
}

/** Serves the routes. */
export function rpcHandler(deps: HandlerDeps): RpcHandler {
  const router = createConnectRouter({
    interceptors: deps.interceptors,
    shutdownSignal: deps.shutdownSignal,
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: MAX_MESSAGE_BYTES,
    acceptCompression: [compressionGzip],
    // Compressed requests are understood, but no answer is: on a local socket that only costs time.
    compressMinBytes: MAX_MESSAGE_BYTES + 1,
    // A misspelt key in JSON typed by a person is refused instead of being taken for a default.
    jsonOptions: { ignoreUnknownFields: false },
  });
  const specs: MethodImplSpec[] = [];
  const recording: ConnectRouter = {
    ...router,
    service(service, implementation, options) {
      specs.push(...Object.values(createServiceImplSpec(service, implementation).methods));
      router.service(service, implementation, options);
      return recording;
    },
  };
  deps.routes(recording);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const stream = unaryGrpc(specs, { ...deps, maxMessageBytes: MAX_MESSAGE_BYTES, handlers });
  const request = (request: Request, response: Response) => {
    const path = (request.url ?? "").split("?", 1)[0]!;
    const handler = handlers.get(path);
    if (handler === undefined) return refuseUnknown(request, response, path);
    const call = universalRequest(request, response);
    handler(call)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      .catch((error: unknown) => {
        logger.debug({ path, error: messageOf(error) }, "the client left before it had the whole answer");
        response.destroy();
      });
  };
  return { request, stream };
}

function universalRequest(request: Request, response: Response) {
  // Some gRPC clients put the socket's path into the authority, which makes no valid URL.
  if ("stream" in request) request.headers[":authority"] = "localhost";
  else request.headers.host = "localhost";
  const call = universalRequestFromNodeRequest(request, response, undefined, undefined);
  if (isBeyondTimers(call.header)) {
    call.header.delete("grpc-timeout");
    call.header.delete("connect-timeout-ms");
  }
  return call;
}

/** A deadline that no timer can wait for is as good as none. */
function isBeyondTimers(header: Headers): boolean {
  const grpc = /^(\d{1,8})([HMS])$/.exec(header.get("grpc-timeout") ?? "");
  if (grpc !== null && Number(grpc[1]) * HEADER_TIMEOUT_UNITS_MS[grpc[2]!]! > MAX_TIMER_MS) return true;
  return Number(header.get("connect-timeout-ms") ?? 0) > MAX_TIMER_MS;
}

/** Unknown calls are Unimplemented (12), which every client reads as "this runtime lacks the feature". */
function refuseUnknown(request: Request, response: Response, path: string): void {
  request.resume();
  universalResponseToNodeResponse(unknownAnswer(request.headers["content-type"] ?? "", path), response).catch(
    (error: unknown) => logger.debug({ path, error: messageOf(error) }, "the client left"),
  );
}

function unknownAnswer(contentType: string, path: string) {
  const message = `podrt serves no call at ${path.slice(0, 200)}`;
  const status = new Headers({
    "grpc-status": String(Code.Unimplemented),
    "grpc-message": encodeURIComponent(message),
  });
  const header = new Headers({ "content-type": contentType });
  if (contentType.startsWith("application/grpc-web")) {
    for (const [name, value] of status) header.set(name, value);
    return { status: 200, header };
  }
  if (contentType.startsWith("application/grpc")) return { status: 200, header, trailer: status };
  const body = new TextEncoder().encode(JSON.stringify({ code: "unimplemented", message }));
  return {
    status: 404,
    header: new Headers({ "content-type": "application/json" }),
    body: createAsyncIterable([body]),
  };
}

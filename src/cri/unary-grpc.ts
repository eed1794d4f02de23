// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { create, type DescMethodUnary, type MessageShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type Interceptor,
  type MethodImplSpec,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  createAsyncIterable,
  createMethodSerializationLookup,
  createMethodUrl,
  limitSerialization,
  type UniversalHandlerFn,
} from "@connectrpc/connect/protocol";
import {
  contentTypeProto,
  grpcStatusOk,
  parseTimeout,
  setTrailerStatus,
} from "@connectrpc/connect/protocol-grpc";
import { messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { keptListEncoder } from "./kept-list.ts";
import { MAX_TIMER_MS } from "./timeout.ts";
import { UnaryCall } from "./unary-call.ts";

/*
 * The way of nearly all calls: unary, gRPC, over HTTP/2, not compressed. Connect's handlers take every protocol through
 * one chain of asynchronous iterables, above requests and responses that are made of the streams of HTTP/2. Here the
 * one message is taken from the stream and the answer is put on it. Types, messages, interceptors, status and errors
 * are Connect's; a request that is not as it should be is Connect's, too, so that its errors are the same.
 */

const CONTENT_TYPES: ReadonlySet<unknown> = new Set([contentTypeProto, "application/grpc"]);
/** Flags and length of a message, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
const PREFIX_BYTES = 5;
const RESPONSE_HEADERS = { ":status": 200, "content-type": contentTypeProto };
const OK: OutgoingHttpHeaders = { "grpc-status": grpcStatusOk };

export interface UnaryGrpcOptions {
  readonly interceptors: readonly Interceptor[];
  /** Aborting it ends every call in progress. */
  readonly shutdownSignal: AbortSignal;
  readonly maxMessageBytes: number;
  /** Connect's handler of a call, by its path. */
  readonly handlers: ReadonlyMap<string, UniversalHandlerFn>;
}

interface Method {
  readonly type: DescMethodUnary;
  readonly invoke: (call: UnaryCall) => Promise<UnaryResponse>;
  readonly parse: (bytes: Uint8Array) => MessageShape<DescMethodUnary["input"]>;
  readonly serialize: (message: MessageShape<DescMethodUnary["output"]>) => Uint8Array;
}

/** Answers whether it serves the call of a stream; if not, the stream is untouched. */
export type TakeStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;

/** Serves the unary calls among `specs`. */
export function unaryGrpc(specs: readonly MethodImplSpec[], options: UnaryGrpcOptions): TakeStream {
  const methods = new Map(
    specs.flatMap((spec) =>
      spec.kind === "unary" ? [[createMethodUrl("/", spec.method), methodOf(spec, options)] as const] : [],
    ),
  );
  const calls = new Set<UnaryCall>();
  options.shutdownSignal.addEventListener("abort", () => {
    for (const call of calls) call.stop(ConnectError.from(options.shutdownSignal.reason));
  });
  return (stream, headers) => {
    const path = headers[":path"] ?? "";
    const method = methods.get(path);
    if (method === undefined || headers[":method"] !== "POST") return false;
    if (!CONTENT_TYPES.has(headers["content-type"])) return false;
    if ((headers["grpc-encoding"] ?? "identity") !== "identity") return false;
    const { timeoutMs, error } = parseTimeout(
      (headers["grpc-timeout"] as string | undefined) ?? null,
      Number.MAX_SAFE_INTEGER,
    );
    if (error !== undefined) return false;
    serve(stream, headers, method, boundedTimeout(timeoutMs), calls, options);
    return true;
  };
}

/** A deadline that no timer can wait for is as good as none. */
function boundedTimeout(timeoutMs: number | undefined): number | undefined {
  return timeoutMs !== undefined && timeoutMs > MAX_TIMER_MS ? undefined : timeoutMs;
}

function methodOf(
  spec: MethodImplSpec & { kind: "unary" },
  { interceptors, maxMessageBytes }: UnaryGrpcOptions,
): Method {
  const { method, impl } = spec;
  const limits = {
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    compressMinBytes: maxMessageBytes,
  };
  const { getI, getO } = createMethodSerializationLookup(method, undefined, undefined, limits);
  const kept = keptListEncoder(method.output);
  const { serialize } =
    kept === undefined
      ? getO(true)
      : limitSerialization({ serialize: kept, parse: getO(true).parse }, limits);
  const implementation = async (request: UnaryRequest): Promise<UnaryResponse> => {
    const call = request as UnaryCall;
    const message = create(method.output, await impl(call.message, call));
    return new Response(call, message);
  };
  const invoke = interceptors.reduceRight<(request: UnaryRequest) => Promise<UnaryResponse>>(
    (next, interceptor) => interceptor(next as never) as never,
    implementation,
  );
  return {
    type: method,
    invoke,
    parse: getI(true).parse,
    serialize,
  };
}

class Response implements UnaryResponse {
  readonly stream = false;
  readonly #call: UnaryCall;
  readonly message: MessageShape<DescMethodUnary["output"]>;

  constructor(call: UnaryCall, message: MessageShape<DescMethodUnary["output"]>) {
    this.#call = call;
    this.message = message;
  }

  get service() {
    return this.#call.service;
  }

  get method() {
    return this.#call.method;
  }

  get header(): Headers {
    return this.#call.responseHeader;
  }

  get trailer(): Headers {
    return this.#call.responseTrailer;
  }
}

function serve(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  method: Method,
  timeoutMs: number | undefined,
  calls: Set<UnaryCall>,
  { handlers, maxMessageBytes }: UnaryGrpcOptions,
): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let isReceived = false;
  const call = new UnaryCall(method.type, headers, timeoutMs, (reason) => {
    if (!isReceived) respond(stream, call, failed(reason));
  });
  calls.add(call);
  const received = () => {
    if (isReceived || stream.destroyed) return;
    isReceived = true;
    const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    const answer = isOneMessage(bytes)
      ? answerOf(method, call, bytes.subarray(PREFIX_BYTES))
      : answerOfConnect(handlers.get(headers[":path"]!)!, call, bytes);
    void answer.then((found) => {
      call.end();
      respond(stream, call, found);
    });
  };
  stream.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    // More than any message has: what there is suffices to refuse it.
    if (length <= maxMessageBytes + PREFIX_BYTES) return;
    stream.pause();
    received();
  });
  stream.once("end", received);
  stream.on("error", (error) =>
    logger.debug({ rpc: method.type.name, error: messageOf(error) }, "a stream failed"),
  );
  stream.once("close", () => {
    calls.delete(call);
    isReceived = true;
    // Nearly always it has had its answer, and an error with its stack takes a twentieth of a small call.
    if (!call.isOver) call.stop(new ConnectError("the caller gave up", Code.Canceled));
  });
}

/** Whether these are one message, all of it, that is not compressed. */
function isOneMessage(bytes: Buffer): boolean {
  return (
    bytes.length >= PREFIX_BYTES && bytes[0] === 0 && bytes.readUInt32BE(1) === bytes.length - PREFIX_BYTES
  );
}

interface Answer {
  readonly body?: Uint8Array | undefined;
  readonly trailers: OutgoingHttpHeaders;
}

async function answerOf(method: Method, call: UnaryCall, bytes: Uint8Array): Promise<Answer> {
  try {
    call.message = method.parse(bytes);
    const { message } = await method.invoke(call);
    const content = method.serialize(message);
    const body = Buffer.allocUnsafe(PREFIX_BYTES + content.length);
    body[0] = 0;
    body.writeUInt32BE(content.length, 1);
    body.set(content, PREFIX_BYTES);
    return { body, trailers: OK };
  } catch (error) {
    return failed(error);
  }
}

/** What Connect's own handler says of a request with this body. */
async function answerOfConnect(
  handler: UniversalHandlerFn,
  call: UnaryCall,
  bytes: Uint8Array,
): Promise<Answer> {
  try {
    const { requestMethod: method, url, header, signal } = call;
    const body = createAsyncIterable([bytes]);
    const answer = await handler({ httpVersion: "2.0", method, url, header, body, signal });
    const parts: Uint8Array[] = [];
    for await (const part of answer.body ?? []) parts.push(part);
    return { body: Buffer.concat(parts), trailers: Object.fromEntries(answer.trailer ?? []) };
  } catch (error) {
    return failed(error);
  }
}

/** As Connect's handlers answer: a defect is not told in detail. */
function failed(error: unknown): Answer {
  const known = error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
  return { trailers: Object.fromEntries(setTrailerStatus(new Headers(), known)) };
}

function respond(stream: ServerHttp2Stream, call: UnaryCall, { body, trailers }: Answer): void {
  if (stream.destroyed || stream.closed) {
    logger.debug({ rpc: call.method.name }, "the client left before it had the whole answer");
    return;
  }
  const { header, trailer } = call.added;
  stream.once("wantTrailers", () =>
    stream.sendTrailers(trailer === undefined ? trailers : { ...Object.fromEntries(trailer), ...trailers }),
  );
  stream.respond(
    header === undefined ? RESPONSE_HEADERS : { ...Object.fromEntries(header), ...RESPONSE_HEADERS },
    {
      waitForTrailers: true,
    },
  );
  // What of the request has not come by now is of no use.
  if (!stream.readableEnded) stream.once("finish", () => stream.close());
  stream.end(body);
}

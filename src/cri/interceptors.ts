// SPDX-License-Identifier: Apache-2.0
import type { DescMethod, Message } from "@bufbuild/protobuf";
import {
  Code,
  type ConnectError,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest,
} from "@connectrpc/connect";
import { logger } from "../lib/logger.ts";
import { beginCall, endOperation, type Operation, within } from "../lib/operation.ts";
import { rpcDuration, rpcHandled } from "../telemetry/daemon-families.ts";
import { codeName, toConnectError } from "./errors.ts";
import { UnaryCall } from "./unary-call.ts";
import { validateRequest } from "./validate.ts";

/** Calls in progress that end by themselves; a server that closes waits for them a while. */
export interface CallCounter {
  unary: number;
}

/**
 * Around every call: turns what is thrown, also while a reply is being streamed, into a gRPC code, and
 * logs one line with name, duration, code and the ids concerned. Messages as such are never logged, since
 * requests carry registry credentials and environment variables.
 */
export function observe(calls: CallCounter): Interceptor {
  return (next) => async (request) => {
    const call = startCall(request);
    if (request.stream) {
      try {
        const response = await within(call.operation, () => next(request));
        if (!response.stream) throw new Error(`${request.method.name} answered a stream with one message`);
        return { ...response, message: observeStream(response.message, call, request.signal) };
      } catch (error) {
        throw call.failed(error);
      }
    }
    calls.unary++;
    try {
      const response = await within(call.operation, () => next(request));
      call.finished({ ...idsOf(request.message), ...(response.stream ? {} : idsOf(response.message)) });
      return response;
    } catch (error) {
      throw call.failed(error, idsOf(request.message));
    } finally {
      calls.unary--;
    }
  };
}

/** Checks each request before the method that serves it sees it; `handlers` are the names of the runtime handlers. */
export function validate(handlers: readonly string[] | undefined): Interceptor {
  return (next) => (request) => {
    if (!request.stream) {
      validateRequest(request.method.input, request.message, handlers);
      return next(request);
    }
    return next({ ...request, message: validateStream(request.method, request.message, handlers) });
  };
}

async function* validateStream<T extends Message>(
  method: DescMethod,
  messages: AsyncIterable<T>,
  handlers: readonly string[] | undefined,
) {
  for await (const message of messages) {
    validateRequest(method.input, message, handlers);
    yield message;
  }
}

function observeStream<T>(messages: AsyncIterable<T>, call: Call, signal: AbortSignal): AsyncIterable<T> {
  // A generator that nobody has begun to read ends without a word.
  const neverRead = () => void call.failed(signal.reason);
  signal.addEventListener("abort", neverRead, { once: true });
  if (signal.aborted) neverRead();
  return observeMessages(messages, call, () => signal.removeEventListener("abort", neverRead));
}

async function* observeMessages<T>(
  messages: AsyncIterable<T>,
  call: Call,
  onRead: () => void,
): AsyncIterable<T> {
  onRead();
  let count = 0;
  let failure: ConnectError | undefined;
  try {
    for await (const message of messages) {
      count++;
      yield message;
    }
  } catch (error) {
    failure = call.failed(error, { messages: count });
    throw failure;
  } finally {
    // Reached without a failure at the end, and when the client leaves before it.
    if (failure === undefined) call.finished({ messages: count });
  }
}

type Asked = Pick<UnaryRequest | StreamRequest, "method" | "signal" | "header" | "stream">;

interface Call {
  readonly operation: Operation;
  finished(fields: object): void;
  failed(error: unknown, fields?: object): ConnectError;
}

function startCall(asked: Asked): Call {
  const { method, stream } = asked;
  const startedAtMs = performance.now();
  const traceparent =
    asked instanceof UnaryCall ? asked.headerText("traceparent") : asked.header.get("traceparent");
  const operation = beginCall(method.name, traceparent ?? undefined);
  const ended = (error: ConnectError | undefined, ids: object | undefined) => {
    if (operation.isOver) return;
    const code = codeName(error);
    rpcHandled.add(1, { rpc: method.name, code });
    if (!stream) rpcDuration.observe((performance.now() - startedAtMs) / 1000, { rpc: method.name });
    endOperation(operation, {
      code,
      ...(error === undefined ? {} : { message: error.rawMessage }),
      ids: { ...ids },
    });
  };
  const line = (error: ConnectError | undefined, fields: object | undefined) => ({
    rpc: method.name,
    durationMs: Math.round((performance.now() - startedAtMs) * 10) / 10,
    code: codeName(error),
    ...(operation.traceId === undefined ? {} : { traceId: operation.traceId }),
    ...fields,
  });
  return {
    operation,
    finished(fields) {
      ended(undefined, fields);
      if (isPolled(method)) logger.debug(line(undefined, fields), "rpc");
      else logger.info(line(undefined, fields), "rpc");
    },
    failed(error, fields) {
      // Signals are made when somebody asks for them.
      const converted = toConnectError(error, asked.signal);
      ended(converted, fields);
      const entry = { ...line(converted, fields), error: converted.rawMessage };
      if (converted.code === Code.Internal) logger.error({ ...entry, stack: stackOf(error) }, "rpc");
      else if (isPolled(method)) logger.debug(entry, "rpc");
      else logger.warn(entry, "rpc");
      return converted;
    },
  };
}

/** Whether clients call it all the time and it changes nothing, so that a line for each says little. */
function isPolled(method: DescMethod): boolean {
  return (
    method.methodKind === "server_streaming" ||
    /^(List|Version|Status|ImageFsInfo|RuntimeConfig|ExecSync|MapPods)|Stat(us|s)$/.test(method.name)
  );
}

const ID_FIELDS = ["podSandboxId", "containerId", "imageRef"] as const;

function idsOf(message: Message): Record<string, string> {
  const fields = message as Message & Partial<Record<(typeof ID_FIELDS)[number] | "image", unknown>>;
  const ids: Record<string, string> = {};
  for (const name of ID_FIELDS) {
    const value = fields[name];
    if (typeof value === "string" && value !== "") ids[name] = value.slice(0, 128);
  }
  const image = (fields.image as { image?: unknown } | undefined)?.image;
  if (typeof image === "string" && image !== "") ids["image"] = image.slice(0, 256);
  return ids;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `\ncaused by: ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

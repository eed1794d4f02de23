// SPDX-License-Identifier: Apache-2.0
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { PodrtError, UnavailableError } from "../errors.ts";
import { PodService } from "../gen/podrt/v1/podrt_pb.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import type { StreamTransport } from "./stream-transport.ts";
import { unaryTransport } from "./unary-transport.ts";

/** Calls that wait for nothing but the daemon itself. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** The daemon behind a socket. Dispose it, or the connection keeps the process alive. */
export interface Daemon extends Disposable {
  readonly runtime: Client<typeof RuntimeService>;
  readonly images: Client<typeof ImageService>;
  readonly pods: Client<typeof PodService>;
}

/**
 * Speaks to the daemon behind `socketPath`; connections are made with the first call. Most commands make none but unary
 * calls, for which `fetch` is enough; HTTP/2, which takes its time to load, comes with the first stream.
 */
export function openDaemon(socketPath: string): Daemon {
  const interceptors = [translating(socketPath)];
  const unary = unaryTransport(socketPath, interceptors);
  let streams: Promise<StreamTransport> | undefined;
  const transport: Transport = {
    unary: unary.unary,
    async stream(...call) {
      streams ??= import("./stream-transport.ts").then((module) =>
        module.streamTransport(socketPath, interceptors),
      );
      return (await streams).stream(...call);
    },
  };
  return {
    runtime: createClient(RuntimeService, transport),
    images: createClient(ImageService, transport),
    pods: createClient(PodService, transport),
    [Symbol.dispose]() {
      unary[Symbol.dispose]();
      void streams?.then((opened) => opened[Symbol.dispose]());
    },
  };
}

function translating(socketPath: string): Interceptor {
  return (next) => async (request) => {
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: translated(response.message, socketPath) } : response;
    } catch (error) {
      throw translate(error, socketPath);
    }
  };
}

/** Options of a call that answers at once: a daemon that hangs is told of instead of waited for. */
export function promptly(): { readonly timeoutMs: number } {
  return { timeoutMs: DEFAULT_TIMEOUT_MS };
}

/** Whether `error` is the daemon's word that something does not exist. */
export function isNotFound(error: unknown): boolean {
  return ConnectError.from(error).code === Code.NotFound;
}

/** Whether `error` says that the caller gave up. */
export function isCanceled(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Canceled;
}

/** Whether `error` says that there is no daemon to talk to, rather than what one said. */
export function isAbsent(error: unknown): boolean {
  return ConnectError.from(error).cause instanceof UnavailableError;
}

async function* translated<T>(messages: AsyncIterable<T>, socketPath: string): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw translate(error, socketPath);
  }
}

function translate(error: unknown, socketPath: string): unknown {
  if (error instanceof PodrtError) return error;
  const { cause } = ConnectError.from(error);
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTSOCK") {
    return new UnavailableError(`no daemon answers at ${socketPath}; start it with \`podrt serve\``);
  }
  if (code === "EACCES" || code === "EPERM") {
    return new UnavailableError(`no permission to use ${socketPath}; run this as root`);
  }
  // How HTTP/2 tells of a connection that ended; what the daemon ends has a status.
  const isCutOff = ConnectError.from(error).rawMessage.startsWith("http/2 stream closed with error code");
  if (code === "ECONNRESET" || code === "EPIPE" || isCutOff) {
    return new UnavailableError(
      `the daemon at ${socketPath} went away; see why in its log, and start it again with \`podrt serve\``,
    );
  }
  return error;
}

/** The sentence for a person: what the daemon said, without the name of a gRPC code before it. */
export function sentenceOf(error: unknown): string {
  if (error instanceof ConnectError) {
    if (error.code === Code.DeadlineExceeded) return `the daemon did not answer in time: ${error.rawMessage}`;
    // The kubelet goes by this beginning; a sentence does without it.
    const sentence = error.rawMessage.replace(/^RegistryUnavailable: /, "");
    return sentence === "" ? `the daemon answered with ${Code[error.code]}` : sentence;
  }
  return error instanceof Error ? error.message : String(error);
}

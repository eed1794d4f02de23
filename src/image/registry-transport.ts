// SPDX-License-Identifier: Apache-2.0
import { connect } from "node:net";
import { FailedPreconditionError, messageOf, UnavailableError } from "../errors.ts";
import type { Identity } from "./pem-files.ts";

/** A registry that gave no answer, or broke off in the middle of one. */
export class NoAnswerError extends UnavailableError {
  /**
   * `unreachable`: nothing listens there, or it speaks something else, so trying again at once is no
   * use. `untrusted`: it speaks TLS, with a certificate that cannot be trusted. `stalled`: it stopped sending.
   * `broken`: it closed the connection.
   */
  readonly how: "unreachable" | "untrusted" | "stalled" | "broken";

  constructor(message: string, how: NoAnswerError["how"], options?: ErrorOptions) {
    super(message, options);
    this.how = how;
  }
}

export interface Request {
  readonly method?: "GET" | "HEAD" | "POST";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to the origin of `url` alone, never to where that redirects. */
  readonly authorization?: string | undefined;
  readonly body?: string;
}

/** How an endpoint is spoken to, beyond its address. */
export interface Access {
  /** For the whole conversation: redirects and token services of a private registry have the same authority. */
  readonly tls: { readonly ca?: readonly string[]; readonly rejectUnauthorized?: false };
  /** Certificate and key, in PEM; shown to the endpoint's own origin, as the headers are sent there alone. */
  readonly identity?: Identity;
  readonly headers: Readonly<Record<string, string>>;
  /** A connection to the endpoint that takes longer is given up. */
  readonly dialTimeoutMs?: number;
  readonly proxy?: string;
}

export const USUAL_ACCESS: Access = { tls: {}, headers: {} };

export interface Transport {
  /** The endpoint on whose behalf requests are sent. */
  readonly endpoint: { readonly origin: string; readonly access: Access };
  /** A peer that sends less than a KiB in this time is given up. */
  readonly stallTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body has not been read; exactly one of `chunks`, `text` and `discard` takes it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Origin that answered, which after a redirect is not the one asked. */
  readonly origin: string;
  chunks(): AsyncGenerator<Uint8Array>;
  /** The body, or as much of it as `limitBytes` admit. */
  bytes(limitBytes: number): Promise<{ bytes: Uint8Array; isWhole: boolean }>;
  discard(): Promise<void>;
}

const REDIRECTS_LIMIT = 5;
/** Less than this within the stall timeout counts as nothing. */
const PROGRESS_BYTES = 1024;

/**
 * Sends one request and follows its redirects. Bodies come as they are on the wire, never
 * decompressed: a layer's digest is that of its compressed form.
 */
export async function send(request: Request, transport: Transport): Promise<Answer> {
  const first = new URL(request.url);
  let url = first;
  for (let hop = 0; ; hop++) {
    const answer = await sendOnce(request, url, url.origin === first.origin, transport);
    const location = answer.status >= 300 && answer.status < 400 ? answer.headers.get("location") : null;
    if (location === null) return answer;
    await answer.discard();
    if (request.body !== undefined) {
      throw new FailedPreconditionError(`${first.host} redirects a request that carries credentials`);
    }
    if (hop === REDIRECTS_LIMIT) {
      throw new FailedPreconditionError(`${first.host} redirects more than ${REDIRECTS_LIMIT} times`);
    }
    url = redirected(url, location);
  }
}

function redirected(from: URL, location: string): URL {
  const to = URL.parse(location, from.href);
  if (to === null || (to.protocol !== "https:" && to.protocol !== "http:") || to.username !== "") {
    throw new FailedPreconditionError(`${from.host} redirects to an address that is none`);
  }
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw new FailedPreconditionError(`${from.host} redirects from https to plain http (${to.host})`);
  }
  return to;
}

async function sendOnce(
  request: Request,
  url: URL,
  isFirstOrigin: boolean,
  transport: Transport,
): Promise<Answer> {
  const watch = stallWatch(url.host, transport);
  const { origin, access } = transport.endpoint;
  const isOwn = url.origin === origin;
  try {
    if (isOwn && access.dialTimeoutMs !== undefined) await watch.during(dial(url, access));
    const response = await watch.during(
      fetch(url.href, {
        method: request.method ?? "GET",
        headers: {
          "accept-encoding": "identity",
          "user-agent": "podrt",
          ...(isOwn ? access.headers : {}),
          ...request.headers,
          ...(request.authorization !== undefined && isFirstOrigin
            ? { authorization: request.authorization }
            : {}),
        },
        ...(request.body === undefined ? {} : { body: request.body }),
        redirect: "manual",
        signal: watch.signal,
        decompress: false,
        timeout: false,
        tls: {
          ...access.tls,
          ...(isOwn && access.identity
            ? { cert: access.identity.certificate, key: access.identity.key }
            : {}),
        },
        ...(isOwn && access.proxy !== undefined ? { proxy: access.proxy } : {}),
      } as RequestInit),
    );
    return answerOf(response, url, watch);
  } catch (error) {
    watch.end();
    throw error;
  }
}

/** Sees whether a connection comes about in time: fetch has no deadline for that part alone. */
function dial(url: URL, { proxy, dialTimeoutMs = 0 }: Access): Promise<void> {
  const peer = proxy === undefined ? url : new URL(proxy);
  return new Promise((resolve, reject) => {
    const socket = connect(addressOf(peer));
    const timer = setTimeout(() => end(dialTimedOut(peer.host, dialTimeoutMs)), dialTimeoutMs);
    const end = (error?: Error) => {
      clearTimeout(timer);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.once("connect", () => end());
    socket.once("error", end);
  });
}

/** The address of a server as sockets want it. */
export function addressOf({ hostname, port, protocol }: URL): { host: string; port: number } {
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || (protocol === "http:" ? 80 : 443) };
}

function dialTimedOut(host: string, timeoutMs: number): NoAnswerError {
  return new NoAnswerError(`${host} took no connection within ${timeoutMs / 1000} s`, "unreachable");
}

function answerOf(response: Response, url: URL, watch: StallWatch): Answer {
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    const reader = response.body?.getReader();
    try {
      for (;;) {
        const next = await watch.during(reader?.read() ?? Promise.resolve({ done: true, value: undefined }));
        if (next.done || next.value === undefined) return;
        watch.received(next.value.length);
        yield next.value;
      }
    } finally {
      watch.end();
      // Ends the connection when the reader leaves early; after the end it does nothing.
      reader?.cancel().catch(() => {});
    }
  };
  return {
    status: response.status,
    headers: response.headers,
    origin: url.origin,
    chunks,
    async bytes(limitBytes) {
      const parts: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of chunks()) {
        parts.push(chunk);
        length += chunk.length;
        if (length > limitBytes) break;
      }
      const isWhole = length <= limitBytes;
      return { bytes: new Uint8Array(Buffer.concat(parts)).subarray(0, limitBytes), isWhole };
    },
    async discard() {
      watch.end();
      await response.body?.cancel().catch(() => {});
    },
  };
}

interface StallWatch {
  readonly signal: AbortSignal;
  /** Waits for the peer: only such waits count against it, not those for a slow disk of ours. */
  during<T>(wait: Promise<T>): Promise<T>;
  received(bytes: number): void;
  end(): void;
}

/** Aborts a request whose peer has stalled, or whose caller has given up. */
function stallWatch(host: string, { stallTimeoutMs, signal }: Transport): StallWatch {
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  let waitedMs = 0;
  let receivedBytes = 0;
  const stalled = () => new NoAnswerError(`${host} sent nothing for ${stallTimeoutMs / 1000} s`, "stalled");
  return {
    signal: controller.signal,
    async during(wait) {
      const start = performance.now();
      const timer = setTimeout(() => controller.abort(stalled()), Math.max(1, stallTimeoutMs - waitedMs));
      try {
        return await wait;
      } catch (error) {
        if (controller.signal.aborted) throw controller.signal.reason;
        throw noAnswer(host, error);
      } finally {
        clearTimeout(timer);
        waitedMs += performance.now() - start;
      }
    },
    received(bytes) {
      receivedBytes += bytes;
      if (receivedBytes < PROGRESS_BYTES) return;
      receivedBytes = 0;
      waitedMs = 0;
    },
    end: () => signal?.removeEventListener("abort", onAbort),
  };
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refuses connections",
  ENOTFOUND: "has no address",
  EAI_AGAIN: "has no address: the name server does not answer",
  EHOSTUNREACH: "cannot be reached",
  ENETUNREACH: "cannot be reached",
  ETIMEDOUT: "does not answer",
  EPROTO: "does not speak TLS, or wants another client certificate",
};

/** What Bun's fetch calls an answer that it cannot read. */
const NOT_HTTP = /^(Malformed_HTTP_Response|Invalid\w+|ResponseHeadersTooLarge|UnrequestedUpgrade)$/;

/** Puts a failed fetch into words. */
function noAnswer(host: string, error: unknown): NoAnswerError {
  if (error instanceof NoAnswerError) return error;
  const code = String((error as { code?: unknown } | undefined)?.code ?? "");
  const known = UNREACHABLE[code];
  if (known !== undefined)
    return new NoAnswerError(`${host} ${known} (${code})`, "unreachable", { cause: error });
  if (NOT_HTTP.test(code)) {
    return new NoAnswerError(`${host} sends what is no HTTP (${code})`, "unreachable", { cause: error });
  }
  if (code === "ECONNRESET") {
    return new NoAnswerError(`${host} broke the connection`, "broken", { cause: error });
  }
  // What remains is mostly certificates, whose codes are words: DEPTH_ZERO_SELF_SIGNED_CERT.
  const isCertificate = /CERT|SIGNATURE|ALTNAME|ISSUER/.test(code);
  return new NoAnswerError(
    `${host} ${isCertificate ? "has a certificate that cannot be trusted" : "cannot be talked to"} (${code || messageOf(error)})`,
    isCertificate ? "untrusted" : "broken",
    { cause: error },
  );
}

// SPDX-License-Identifier: Apache-2.0
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer, isIPv6, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { UnavailableError } from "../errors.ts";
import { sleep } from "../lib/deadline.ts";
import { type ConnectionBounds, httpConnections } from "../lib/http-connections.ts";
import { logger } from "../lib/logger.ts";
import { Refusal, refuse } from "./http-answer.ts";
import { idleTimer } from "./idle-timer.ts";
import type { CommandRequest, ExecSessionRequest, StreamingRequest } from "./requests.ts";
import type { Session } from "./session.ts";
import { newTokens } from "./tokens.ts";
import { type Services, serveUpgrade } from "./upgrade.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const KEEP_ALIVE_MS = 30_000;
/** What sessions get to tell their clients that the daemon stops. */
const CLOSE_GRACE_MS = 2000;

// No token is told from another that was used or has expired.
const UNKNOWN = new Refusal(404, "404 page not found");
const NO_UPGRADE = new Refusal(400, "unable to upgrade: the request asks for no upgrade");
const NO_REQUEST = new Refusal(400, "this is no request of HTTP/1.1 that the server can read");

/** What the server connects its clients with. */
export interface StreamingBackend {
  exec(request: ExecSessionRequest): Promise<Session>;
  attach(request: CommandRequest): Promise<Session>;
  /** A connection to a port of the sandbox that allows half-open ones. */
  connect(sandboxId: string, port: number): Promise<Socket>;
}

export interface StreamingServer {
  /** A URL that may be called once within a minute, by anybody who knows it. */
  urlFor(request: StreamingRequest): string;
  /** How many there are. */
  connections(): number;
  /** Ends every session and the server. */
  close(): Promise<void>;
}

/** An upgrade is to come before the time of the request is up. */
export interface StreamingLimits extends ConnectionBounds {
  /** Without a byte in either direction; a client may also take so long to read the last of a session. */
  readonly idleLimitMs: number;
  /** How long a client may take to open the streams that it needs. */
  readonly streamCreationLimitMs: number;
}

const DEFAULT_LIMITS: StreamingLimits = {
  maxConnections: 1024,
  requestTimeoutMs: 10_000,
  idleLimitMs: 4 * 3_600_000,
  streamCreationLimitMs: 30_000,
};

export interface StreamingOptions {
  /** A loopback address: what goes over it is not encrypted. */
  readonly address: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly backend: StreamingBackend;
  readonly limits?: Partial<StreamingLimits>;
}

/** Serves the URLs that Exec, Attach and PortForward answer with, over SPDY and WebSocket. */
export async function startStreamingServer(options: StreamingOptions): Promise<StreamingServer> {
  const tokens = newTokens<StreamingRequest>();
  const shutdown = new AbortController();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const services = servicesOf(options.backend, limits, shutdown.signal);
  const redeem = ({ url = "" }: IncomingMessage): StreamingRequest | undefined => {
    const [, kind, token] = /^\/([a-z]+)\/([^/?#]+)$/.exec(url) ?? [];
    const request = token === undefined ? undefined : tokens.redeem(token);
    return request?.kind === kind ? request : undefined;
  };
  const http = createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request) => {
    refuse(request.socket, redeem(request) === undefined ? UNKNOWN : NO_UPGRADE);
  });
  http.on("clientError", (_error, socket: Duplex) => refuse(socket, NO_REQUEST));
  const connections = httpConnections(http, limits);
  http.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const target = redeem(request);
    if (target === undefined) refuse(socket, UNKNOWN);
    else if (serveUpgrade({ request, socket, head }, target, services(socket))) connections.keep(socket);
  });
  const server = createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    (socket) => {
      if (shutdown.signal.aborted) socket.destroy();
      else connections.take(socket);
    },
  );
  const port = await listen(server, options);
  const host = isIPv6(options.address) ? `[${options.address}]` : options.address;
  return {
    urlFor: (request) => `http://${host}:${port}/${request.kind}/${tokens.issue(request)}`,
    connections: connections.count,
    async close() {
      server.close();
      shutdown.abort();
      const endMs = performance.now() + CLOSE_GRACE_MS;
      while (connections.count() > 0 && performance.now() < endMs) await sleep(10);
      connections.destroyAll();
    },
  };
}

function servicesOf(
  backend: StreamingBackend,
  { idleLimitMs, streamCreationLimitMs }: StreamingLimits,
  signal: AbortSignal,
): (socket: Duplex) => Services {
  return (socket) => ({
    streamCreationLimitMs,
    closeTimeoutMs: idleLimitMs,
    command: (request) => ({
      start: () => (request.kind === "exec" ? backend.exec(request) : backend.attach(request)),
      endsWithExitCode: request.kind === "exec",
      idleLimitMs,
      signal,
    }),
    portForward({ sandboxId }) {
      const end = () => socket.destroy();
      const idle = idleTimer(idleLimitMs, end);
      signal.addEventListener("abort", end, { once: true });
      socket.once("close", () => {
        idle.stop();
        signal.removeEventListener("abort", end);
      });
      return {
        connect: (port) => backend.connect(sandboxId, port),
        touch: idle.touch,
        streamCreationLimitMs,
      };
    },
  });
}

function listen(
  server: ReturnType<typeof createServer>,
  { address, port }: StreamingOptions,
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.on("error", (error) => {
      const sentence = `cannot serve streams on ${address} port ${port}: ${error.message}`;
      // Once it listens, one connection could not be taken, for want of descriptors say.
      if (server.listening) logger.warn({ err: error }, sentence);
      else reject(new UnavailableError(`${sentence}; see [streaming] in the configuration`));
    });
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port));
  });
}

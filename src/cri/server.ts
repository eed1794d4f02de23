// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import {
  createServer as createHttp2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect, createServer, type NetConnectOpts, type Socket } from "node:net";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { sleep } from "../lib/deadline.ts";
import { listenExclusively } from "../lib/socket-claim.ts";
import type { Fd } from "../linux/fd.ts";
import { acceptConnections } from "../linux/listening-socket.ts";
import { rpcHandler } from "./handler.ts";
import { type CallCounter, observe, validate } from "./interceptors.ts";

/** How an HTTP/2 connection starts (RFC 9113, section 3.4); no HTTP/1.1 request can. */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const MAX_CONNECTIONS = 1024;
const MAX_CONCURRENT_STREAMS = 1024;
/** Replies of 16 MiB must fit beside each other: with the default of 10 the session is reset. In MB. */
const MAX_SESSION_MEMORY = 256;
const FIRST_BYTES_TIMEOUT_MS = 10_000;
/** What a call in progress is given to finish when the server closes, and then to notice that it must. */
const CLOSE_GRACE_MS = 3000;
const CLOSE_ABORT_MS = 1000;

export interface CriServer {
  /** Stops accepting, lets calls in progress finish for some seconds, ends what is left. */
  close(): Promise<void>;
}

/**
 * Serves `routes` on a unix socket as gRPC, gRPC-Web and Connect. What a connection sends first tells
 * HTTP/2 from HTTP/1.1, so that a kubelet and `curl --unix-socket` use the same path.
 */
export async function serveCri(deps: {
  readonly socketPath: string;
  /** The listening socket at that path, where somebody else has made it, who also removes it. */
  readonly passedSocket?: Fd | undefined;
  readonly routes: (router: ConnectRouter) => void;
  /** Names of the runtime handlers; podrt's own unless told. */
  readonly handlers?: readonly string[];
}): Promise<CriServer> {
  const calls: CallCounter = { unary: 0 };
  const shutdown = new AbortController();
  const handler = rpcHandler({
    routes: deps.routes,
    interceptors: [observe(calls), validate(deps.handlers)],
    shutdownSignal: shutdown.signal,
  });
  const http2 = createHttp2Server({
    maxSessionMemory: MAX_SESSION_MEMORY,
    settings: { maxConcurrentStreams: MAX_CONCURRENT_STREAMS },
  });
  // Makes requests and responses of the streams that it is handed, which is all that it does.
  const requests = createHttp2Server(handler.request);
  http2.on("stream", (stream: ServerHttp2Stream, headers, ...more) => {
    if (!handler.stream(stream, headers)) requests.emit("stream", stream, headers, ...more);
  });
  const http1 = createHttpServer(handler.request);
  let http1Requests = 0;
  http1.on("request", (_request, response) => {
    http1Requests++;
    response.once("close", () => http1Requests--);
  });
  const sockets = new Set<Socket>();
  const http1Sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  });
  const serve = (socket: Socket) => {
    if (sockets.size >= MAX_CONNECTIONS) return socket.destroy();
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket) && http1Sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    sniff(socket, (isHttp2) => {
      if (!isHttp2) http1Sockets.add(socket);
      (isHttp2 ? http2 : http1).emit("connection", socket);
    });
  };
  const listener =
    deps.passedSocket === undefined
      ? await listenAt(deps.socketPath, serve)
      : acceptConnections(deps.passedSocket, (connection) => serve(socketOf(connection)));

  let closing: Promise<void> | undefined;
  const close = async () => {
    listener[Symbol.dispose]();
    for (const session of sessions) session.close();
    await until(() => calls.unary === 0, CLOSE_GRACE_MS);
    shutdown.abort(new ConnectError("podrt serve is shutting down", Code.Unavailable));
    await until(() => http1Requests === 0, CLOSE_ABORT_MS);
    // What an HTTP/1.1 client keeps open for later has no end of its own.
    for (const socket of http1Sockets) socket.destroy();
    await until(() => sockets.size === 0, CLOSE_ABORT_MS);
    for (const socket of sockets) socket.destroy();
  };
  return {
    close() {
      closing ??= close();
      return closing;
    },
  };
}

async function listenAt(path: string, serve: (socket: Socket) => void): Promise<Disposable> {
  const server = createServer(serve);
  await listenExclusively(server, path, { holder: "podrt serve", remedy: "serve another --root" });
  return {
    [Symbol.dispose]() {
      server.close();
      rmSync(path, { force: true });
    },
  };
}

/** Bun takes over a connected descriptor that is given to it so; the types are those of Node, which cannot. */
function socketOf(connection: Fd): Socket {
  return connect({ fd: connection.release() } as unknown as NetConnectOpts);
}

/** Reads as much of a connection as tells its protocol, puts that back, and hands the connection on. */
function sniff(socket: Socket, handOn: (isHttp2: boolean) => void): void {
  let head = Buffer.alloc(0);
  const expiry = setTimeout(() => socket.destroy(), FIRST_BYTES_TIMEOUT_MS);
  socket.once("close", () => clearTimeout(expiry));
  const onData = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    const compared = Math.min(head.length, HTTP2_PREFACE.length);
    const isHttp2 = head.subarray(0, compared).equals(HTTP2_PREFACE.subarray(0, compared));
    if (isHttp2 && compared < HTTP2_PREFACE.length) return;
    clearTimeout(expiry);
    socket.off("data", onData);
    socket.pause();
    handOn(isHttp2);
    socket.unshift(head);
    socket.resume();
  };
  socket.on("data", onData);
}

async function until(condition: () => boolean, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < endMs) await sleep(10);
}

// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { UnavailableError } from "../../errors.ts";
import { httpConnections } from "../../lib/http-connections.ts";
import { MAP_STYLE } from "../map/map-svg.ts";
import script from "./dashboard.browser.js" with { type: "text" };
import style from "./dashboard.css" with { type: "text" };
import type { Feed } from "./feed.ts";
import { admitted } from "./guard.ts";
import { type PageParts, pageDocument } from "./page.ts";

const ADDRESS = "127.0.0.1";
/** A browser takes up to six, and one more for each window that shows the page. */
const MAX_CONNECTIONS = 64;
const MAX_READERS = 16;
const MAX_HEADER_BYTES = 8192;
/** Connections without a token, which anybody of the machine can make, are not kept. */
const REQUEST_TIMEOUT_MS = 10_000;
const TOKEN_BYTES = 24;
/** What a proxy or a browser would take for a dead connection has a word in it before that. */
const HEARTBEAT_MS = 15_000;

export interface DashboardServer {
  /** Whoever has it can read the page. */
  readonly url: string;
  close(): void;
}

/** Nothing is loaded from elsewhere, runs that is not the page's own script, or is kept in a cache. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cache-control": "no-store",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
} as const;

/** Serves the page on loopback at `port`, 0 for any that is free, below a token that nobody can guess. */
export async function serveDashboard(
  feed: Feed,
  port: number,
  requestTimeoutMs = REQUEST_TIMEOUT_MS,
): Promise<DashboardServer> {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  const readers = new Set<ServerResponse>();
  const http = createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    answer(request, response).catch(() => response.destroy());
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const asked = admitted(request, token);
    if (typeof asked === "object") return say(response, asked.status, asked.sentence);
    if (asked === "") return send(response, "text/html", pageDocument(await feed.current()));
    if (asked === "dashboard.css") return send(response, "text/css", `${style}\n${MAP_STYLE}`);
    if (asked === "dashboard.js") return send(response, "text/javascript", script);
    if (asked !== "events") return say(response, 404, "there is nothing of this name");
    if (request.method === "HEAD") return send(response, "text/event-stream", "");
    if (readers.size >= MAX_READERS) {
      return say(response, 503, `${MAX_READERS} windows show the dashboard already; close some`);
    }
    readers.add(response);
    connections.keep(request.socket);
    follow(feed, response, () => readers.delete(response));
  };
  const connections = httpConnections(http, { maxConnections: MAX_CONNECTIONS, requestTimeoutMs });
  const server = createServer({ noDelay: true }, connections.take);
  await listen(server, port);
  return {
    url: `http://${ADDRESS}:${(server.address() as AddressInfo).port}/${token}/`,
    close() {
      server.close();
      connections.destroyAll();
    },
  };
}

/**
 * Each part of the page whenever it has changed, as server-sent events. A reader that is slow misses what is between,
 * so that nothing queues up for it.
 */
function follow(feed: Feed, response: ServerResponse, onEnd: () => void): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  const sent = new Map<string, string>();
  let isFree = response.write("retry: 1000\n\n");
  let waiting: PageParts | undefined;
  const write = (parts: PageParts) => {
    const changed = Object.entries(parts).filter(([id, text]) => sent.get(id) !== text);
    if (changed.length === 0) return;
    for (const [id, text] of changed) sent.set(id, text);
    isFree = response.write(`event: parts\ndata: ${JSON.stringify(Object.fromEntries(changed))}\n\n`);
  };
  const unsubscribe = feed.subscribe((parts) => {
    if (isFree) write(parts);
    else waiting = parts;
  });
  response.on("drain", () => {
    isFree = true;
    const parts = waiting;
    waiting = undefined;
    if (parts !== undefined) write(parts);
  });
  const heartbeat = setInterval(() => {
    if (isFree) isFree = response.write(":\n\n");
  }, HEARTBEAT_MS);
  response.once("close", () => {
    clearInterval(heartbeat);
    unsubscribe();
    onEnd();
  });
}

function send(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { "content-type": `${type}; charset=utf-8`, connection: "close" }).end(text);
}

function say(response: ServerResponse, status: number, sentence: string): void {
  const headers = { "content-type": "text/plain; charset=utf-8", connection: "close" };
  response
    .writeHead(status, status === 405 ? { ...headers, allow: "GET, HEAD" } : headers)
    .end(`${sentence}\n`);
}

function listen(server: ReturnType<typeof createServer>, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on("error", (error: NodeJS.ErrnoException) => {
      const why =
        error.code === "EADDRINUSE"
          ? "it is taken; leave --port out to have any that is free"
          : error.message;
      reject(new UnavailableError(`cannot serve the dashboard on ${ADDRESS} port ${port}: ${why}`));
    });
    server.listen(port, ADDRESS, resolve);
  });
}

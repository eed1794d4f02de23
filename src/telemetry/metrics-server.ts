// SPDX-License-Identifier: Apache-2.0
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, isIPv6, type Socket } from "node:net";
import { messageOf, UnavailableError } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { exposition, type Family } from "./registry.ts";

const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 8192;
const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface MetricsServer {
  /** `http://127.0.0.1:9327/metrics`. */
  readonly url: string;
  close(): void;
}

/** Serves the families to Prometheus at /metrics, unencrypted and without asking who it is. */
export async function serveMetrics(
  { address, port }: { readonly address: string; readonly port: number },
  families: readonly Family[],
): Promise<MetricsServer> {
  const http = createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    response.setHeader("connection", "close");
    const [path] = (request.url ?? "").split("?", 1);
    if (path !== "/metrics") return void response.writeHead(404).end("metrics are at /metrics\n");
    if (request.method !== "GET" && request.method !== "HEAD") {
      return void response.writeHead(405, { allow: "GET, HEAD" }).end();
    }
    try {
      const text = exposition(families);
      response.writeHead(200, { "content-type": CONTENT_TYPE }).end(text);
    } catch (err) {
      logger.error({ err }, "metrics could not be read");
      response.writeHead(500).end(`metrics could not be read: ${messageOf(err)}\n`);
    }
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= MAX_CONNECTIONS) return socket.destroy();
    sockets.add(socket);
    const expiry = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(expiry);
      sockets.delete(socket);
    });
    http.emit("connection", socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", (error) => {
      const sentence = `cannot serve metrics on ${address} port ${port}: ${error.message}`;
      if (server.listening) logger.warn({ err: error }, sentence);
      else reject(new UnavailableError(`${sentence}; see [metrics] in the configuration`));
    });
    server.listen(port, address, resolve);
  });
  const host = isIPv6(address) ? `[${address}]` : address;
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}/metrics`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

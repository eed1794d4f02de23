// SPDX-License-Identifier: Apache-2.0
import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

export interface ConnectionBounds {
  /** At a time; one more is cut off. */
  readonly maxConnections: number;
  /** From connecting to the end of a connection that nobody keeps. */
  readonly requestTimeoutMs: number;
}

/** The connections of an HTTP server that does not listen itself, since it has no such bounds of its own. */
export interface HttpConnections {
  count(): number;
  /** Gives one to the server, with an owner for its errors and its end. */
  take(socket: Socket): void;
  /** What was asked on it goes on for as long as it likes. */
  keep(socket: Duplex): void;
  destroyAll(): void;
}

export function httpConnections(
  http: Server,
  { maxConnections, requestTimeoutMs }: ConnectionBounds,
): HttpConnections {
  const expiries = new Map<Duplex, ReturnType<typeof setTimeout>>();
  return {
    count: () => expiries.size,
    take(socket) {
      if (expiries.size >= maxConnections) return void socket.destroy();
      const expiry = setTimeout(() => socket.destroy(), requestTimeoutMs);
      expiries.set(socket, expiry);
      socket.on("error", () => socket.destroy());
      socket.once("close", () => {
        clearTimeout(expiry);
        expiries.delete(socket);
      });
      http.emit("connection", socket);
    },
    keep: (socket) => clearTimeout(expiries.get(socket)),
    destroyAll() {
      for (const socket of expiries.keys()) socket.destroy();
    },
  };
}

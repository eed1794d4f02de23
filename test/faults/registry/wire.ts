// SPDX-License-Identifier: Apache-2.0
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";

/** A request as it came over the wire, its names in lower case. */
export interface RawRequest {
  readonly method: string;
  /** With its query. */
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** One connection's way back, byte by byte; nothing is added to what is sent. */
export interface Wire {
  send(bytes: string | Uint8Array): void;
  /** Sends one byte after the other, `everyMs` apart, until the other side leaves. */
  drip(bytes: string | Uint8Array, everyMs: number): void;
  /** Says the last of it: FIN. */
  end(): void;
  /** RST: what is under way is lost. */
  reset(): void;
  /** The answer is whole: another request may follow. */
  done(): void;
}

export interface RawServer extends Disposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Connections whose answer is neither whole nor given up by either side. */
  unfinished(): number;
}

const HEAD_LIMIT_CHARACTERS = 64 * 1024;

/** An HTTP server on loopback whose answers may be anything at all; over TLS with a key and certificate. */
export async function startRawServer(
  answer: (request: RawRequest, wire: Wire) => void,
  tls?: { readonly key: string; readonly cert: string },
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const busy = new Set<Socket>();
  const serve = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket) && busy.delete(socket));
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0 || text.length > HEAD_LIMIT_CHARACTERS) return;
      const request = requestIn(text.slice(0, end));
      const bodyBytes = Number(request.headers.get("content-length") ?? 0);
      if (text.length < end + 4 + bodyBytes) return;
      text = text.slice(end + 4 + bodyBytes);
      busy.add(socket);
      answer(
        request,
        wireTo(socket, () => busy.delete(socket)),
      );
    });
  };
  const server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as { port: number }).port}`,
    unfinished: () => busy.size,
    [Symbol.dispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function requestIn(head: string): RawRequest {
  const [first = "", ...lines] = head.split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return { method, target, headers: new Map(headers) };
}

function wireTo(socket: Socket, done: () => void): Wire {
  return {
    send: (bytes) => void socket.write(bytes),
    drip(bytes, everyMs) {
      const all = Buffer.from(bytes as string);
      let sent = 0;
      const timer = setInterval(() => socket.write(all.subarray(sent, ++sent)), everyMs);
      socket.once("close", () => clearInterval(timer));
    },
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
    done,
  };
}

// SPDX-License-Identifier: Apache-2.0
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";

type Headers = readonly (readonly [name: string, value: string])[];

/** Why a request does not become a session, as its client is told. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Headers;

  constructor(status: number, message: string, headers: Headers = []) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** Answers a request whose connection is not going to be anything else, and closes it. */
export function refuse(socket: Duplex, { status, message, headers }: Refusal): void {
  const body = `${message}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}

/** Tells a client that its connection is SPDY from the next byte on. */
export function switchToSpdy(socket: Duplex, protocol: string): void {
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    `X-Stream-Protocol-Version: ${protocol}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
}

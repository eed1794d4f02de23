// SPDX-License-Identifier: Apache-2.0
import type { RawRequest, Wire } from "./wire.ts";

/** What a registry that tells the truth would send. */
export interface Truth {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Asked {
  readonly truth: Truth;
  readonly request: RawRequest;
  readonly wire: Wire;
  /** Counts the answers that this fault has given, from 1. */
  readonly turn: number;
  /** Scheme, host and port of the registry. */
  readonly origin: string;
}

/** An answer in the truth's place. */
export type Fault = (asked: Asked) => void;

type Headers = Readonly<Record<string, string>>;

/** Sends an answer as it should be, and as its headers say. */
export function sendAnswer({ status, headers, body }: Truth, request: RawRequest, wire: Wire): void {
  const head = Buffer.from(headOf(status, { "content-length": String(body.length), ...headers }), "latin1");
  wire.send(request.method === "HEAD" ? head : Buffer.concat([head, body]));
  wire.done();
}

export function headOf(status: number, headers: Headers): string {
  return `HTTP/1.1 ${status} X\r\n${linesOf(headers)}\r\n`;
}

export function linesOf(headers: Headers): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
}

/** The truth, but for what of it is changed. */
export function lying(change: (truth: Truth, origin: string) => Partial<Truth>): Fault {
  return ({ truth, request, wire, origin }) =>
    sendAnswer({ ...truth, ...change(truth, origin) }, request, wire);
}

/** The truth under more headers, which may contradict it. */
export function headed(headers: (truth: Truth, origin: string) => Headers): Fault {
  return lying((truth, origin) => ({ headers: { ...truth.headers, ...headers(truth, origin) } }));
}

/** Nothing but a status. */
export function status(code: number, headers: Headers = {}): Fault {
  return lying(() => ({ status: code, headers, body: new Uint8Array() }));
}

/** The true headers and others as they are written here, then a body, then the end of the connection. */
export function raw(lines: (truth: Truth) => string, body: (truth: Truth) => Uint8Array = whole): Fault {
  return ({ truth, request, wire }) => {
    wire.send(`HTTP/1.1 ${truth.status} X\r\n${linesOf(truth.headers)}${lines(truth)}\r\n`);
    if (request.method !== "HEAD") wire.send(body(truth));
    wire.end();
  };
}

/** Half of the true answer; `then` is what happens to the rest. */
export function broken(then: (wire: Wire, rest: Uint8Array) => void): Fault {
  return ({ truth, request, wire }) => {
    const { body, headers } = truth;
    // Something is missing also of an answer without a body.
    const length = String(Math.max(1, body.length));
    wire.send(headOf(truth.status, { ...headers, "content-length": length }));
    if (request.method === "HEAD") return wire.end();
    wire.send(half(truth));
    then(wire, body.subarray(body.length >> 1));
  };
}

/** The fault once, and then the truth. */
export function once(fault: Fault): Fault {
  return (asked) => {
    if (asked.turn === 1) fault(asked);
    else sendAnswer(asked.truth, asked.request, asked.wire);
  };
}

export function redirect(location: (asked: Asked) => string): Fault {
  return (asked) => status(307, { location: location(asked) })(asked);
}

export const whole = ({ body }: Truth) => body;
export const half = ({ body }: Truth) => body.subarray(0, body.length >> 1);

/** The body with one bit turned over. */
export function changed({ body }: Truth): Uint8Array {
  const copy = new Uint8Array(body);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

/** The body as one chunk, without the last one that ends it. */
export function chunked({ body }: Truth): Uint8Array {
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n")]);
}

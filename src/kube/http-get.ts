// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { HttpGetSpec } from "./manifest/action-fields.ts";

export interface HttpRoute {
  readonly address: string;
  /** A connection to the port that is asked. */
  readonly connect: () => Promise<Socket>;
  readonly timeoutMs: number;
}

interface Answer {
  readonly status: number;
  /** Empty where there is none. */
  readonly location: string;
}

/** As the kubelet does: so many redirects are followed, those to another place count as success. */
const MAX_REDIRECTS = 10;
const MAX_HEAD_BYTES = 16 * 1024;

/**
 * Asks as a probe does: a status from 200 to 399 is success, undefined; else the result says why not. The
 * request goes over a socket of the pod's namespace, which no HTTP client of the runtime takes, and of the
 * answer nothing but status and Location is of interest. Certificates are not checked, as by the kubelet.
 */
export async function httpGet(spec: HttpGetSpec, route: HttpRoute): Promise<string | undefined> {
  const isTls = spec.scheme === "HTTPS";
  const host = route.address.includes(":") ? `[${route.address}]` : route.address;
  const origin = `${isTls ? "https" : "http"}://${host}`;
  let url = new URL(`/${(spec.path ?? "").replace(/^\//, "")}`, origin);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const { status, location } = await ask(spec, url, isTls, route);
    if (status < 200 || status >= 400) return `HTTP status ${status} of ${url.pathname}`;
    if (status < 300 || location === "") return undefined;
    const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
    if (next === undefined || next.protocol !== url.protocol || next.hostname !== url.hostname)
      return undefined;
    url = next;
  }
  return `stopped after ${MAX_REDIRECTS} redirects`;
}

async function ask(spec: HttpGetSpec, url: URL, isTls: boolean, route: HttpRoute): Promise<Answer> {
  const socket = await route.connect();
  const timer = setTimeout(() => socket.destroy(), route.timeoutMs);
  try {
    const stream = isTls ? connectTls({ socket, rejectUnauthorized: false }) : socket;
    stream.on("error", () => {});
    stream.write(requestText(spec, url));
    return parseHead(await readHead(stream));
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function requestText(spec: HttpGetSpec, url: URL): string {
  const headers = new Map([
    ["host", ["Host", `${url.hostname}:${spec.port}`]],
    ["user-agent", ["User-Agent", "kube-probe/podrt"]],
    ["accept", ["Accept", "*/*"]],
    ["connection", ["Connection", "close"]],
  ]);
  for (const { name, value } of spec.httpHeaders ?? []) headers.set(name.toLowerCase(), [name, value]);
  const lines = [...headers.values()].map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Of final answers only: a server may send 1xx before. */
async function readHead(stream: Duplex): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text += (chunk as Buffer).toString("latin1");
    text = text.replace(/^HTTP\/1\.\d 1\d\d[\s\S]*?\r?\n\r?\n/, "");
    const end = /\r?\n\r?\n/.exec(text);
    if (end !== null) return text.slice(0, end.index);
    if (text.length > MAX_HEAD_BYTES) throw new Error("the answer's headers are too long");
  }
  throw new Error("the connection was closed before there was an answer");
}

function parseHead(head: string): Answer {
  const status = /^HTTP\/1\.\d (\d{3})\b/.exec(head)?.[1];
  if (status === undefined) throw new Error("the answer is no HTTP/1");
  const location = /^location:[ \t]*(.*?)[ \t]*$/im.exec(head)?.[1] ?? "";
  return { status: Number(status), location };
}

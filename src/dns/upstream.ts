// SPDX-License-Identifier: Apache-2.0
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { connect, isIPv6 } from "node:net";
import { parseAddress } from "../lib/address.ts";
import { idOf, isAnswerTo, type Query, REFUSED, rcodeOf, SERVFAIL, withId } from "./message.ts";
import { parseResolvConf } from "./resolv-conf.ts";

/** A server that answers for all names but the pods'. */
export interface Upstream {
  readonly address: string;
  readonly port: number;
}

/** The servers that are configured, as `ADDRESS:PORT`, or else those that the machine has now. */
export function upstreamsOf(configured: readonly string[] | undefined): Upstream[] {
  return (configured ?? machineServers()).flatMap((text) => parseAddress(text, 53) ?? []);
}

/** Read anew each time: what gives the machine its addresses may write it at any moment. */
function machineServers(): readonly string[] {
  try {
    return parseResolvConf(readFileSync("/etc/resolv.conf", "utf8")).servers;
  } catch {
    return [];
  }
}

/** Resolvers ask again after five seconds (resolv.conf(5)); by then they are to have heard. */
const ANSWER_MS = 4500;
const LEAST_MS = 1000;
/** What resolv.conf(5) takes of servers. */
const MAX_UPSTREAMS = 3;

/**
 * What the first of the servers answers that has an answer, whatever that says; undefined where none has. Each is
 * asked from a port of its own and under an id of its own, which nobody else can guess (RFC 5452).
 */
export async function forward(
  query: Query,
  message: Uint8Array,
  upstreams: readonly Upstream[],
  transport: "udp" | "tcp",
): Promise<Uint8Array | undefined> {
  const asked = upstreams.slice(0, MAX_UPSTREAMS);
  const eachMs = Math.max(LEAST_MS, ANSWER_MS / Math.max(1, asked.length));
  let unwilling: Uint8Array | undefined;
  for (const upstream of asked) {
    const asking = { query, message: withId(message, randomInt(0x1_0000)), upstream };
    const answer = await ask(transport === "udp" ? overUdp : overTcp, asking, eachMs);
    if (answer === undefined) continue;
    const own = withId(answer, idOf(message));
    if (![SERVFAIL, REFUSED].includes(rcodeOf(answer))) return own;
    unwilling ??= own;
  }
  return unwilling;
}

interface Asking {
  readonly query: Query;
  /** The query, under the id that its answer is to have. */
  readonly message: Uint8Array;
  readonly upstream: Upstream;
}

/** Sends a message and calls `settle` with its answer, or with nothing where none can come. Answers how to give up. */
type Transport = (asking: Asking, settle: (answer: Uint8Array | undefined) => void) => () => void;

async function ask(transport: Transport, asking: Asking, timeoutMs: number): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  const close = transport(asking, resolve);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    close();
  }
}

const overUdp: Transport = ({ query, message, upstream: { address, port } }, settle) => {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  socket.on("error", () => settle(undefined));
  // Connected, so that the kernel drops what others send.
  socket.connect(port, address, () => socket.send(message, () => {}));
  socket.on("message", (answer) => {
    if (isAnswerTo(query, idOf(message), answer)) settle(answer);
  });
  return () => socket.close();
};

const overTcp: Transport = ({ query, message, upstream: { address, port } }, settle) => {
  const reader = messageReader(0xffff, (answer) => {
    settle(isAnswerTo(query, idOf(message), answer) ? answer : undefined);
  });
  const socket = connect({ host: address, port }, () => socket.write(framed(message)));
  socket.on("data", (bytes: Uint8Array) => {
    if (!reader(bytes)) settle(undefined);
  });
  socket.on("error", () => settle(undefined));
  socket.on("close", () => settle(undefined));
  return () => socket.destroy();
};

/** A message as it goes over TCP, its length in front (RFC 1035, 4.2.2). */
export function framed(message: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(message.length >> 8, message.length & 0xff), message]);
}

/**
 * Takes a stream apart: the function takes what has come and calls `onMessage` with each message that is whole.
 * False for a message that is empty or longer than `maxBytes`: whoever sends that is not listened to any more.
 */
export function messageReader(
  maxBytes: number,
  onMessage: (message: Uint8Array) => void,
): (bytes: Uint8Array) => boolean {
  let rest: Uint8Array = new Uint8Array();
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 2) {
      const length = (rest[0]! << 8) | rest[1]!;
      if (length === 0 || length > maxBytes) return false;
      if (rest.length < 2 + length) return true;
      onMessage(Uint8Array.from(rest.subarray(2, 2 + length)));
      rest = rest.subarray(2 + length);
    }
    return true;
  };
}

// SPDX-License-Identifier: Apache-2.0

/** What a version of the remote command protocol means, whatever carries it. */
export interface CommandProtocol {
  /** Version 4 and later: the error stream carries a Status object. */
  readonly hasStatusObjects: boolean;
  /** Version 3 and later: there is a stream of terminal sizes. */
  readonly hasResize: boolean;
}

/** Versions over SPDY, by the name in X-Stream-Protocol-Version. */
export const SPDY_COMMAND_PROTOCOLS: ReadonlyMap<string, CommandProtocol> = new Map([
  ["v4.channel.k8s.io", { hasStatusObjects: true, hasResize: true }],
  ["v3.channel.k8s.io", { hasStatusObjects: false, hasResize: true }],
  ["v2.channel.k8s.io", { hasStatusObjects: false, hasResize: false }],
  ["channel.k8s.io", { hasStatusObjects: false, hasResize: false }],
]);

/** How bytes and channel numbers are put into the messages of a WebSocket. */
export interface ChannelCodec {
  /** Text messages, the channel as a digit and the rest in base64; else binary messages and a byte. */
  readonly isBase64: boolean;
  /** Version 5: the message 255, CHANNEL says that the channel has ended. */
  readonly hasHalfClose: boolean;
}

const BINARY: ChannelCodec = { isBase64: false, hasHalfClose: false };
const BASE64: ChannelCodec = { isBase64: true, hasHalfClose: false };
const VERSION_1: CommandProtocol = { hasStatusObjects: false, hasResize: true };
const VERSION_4: CommandProtocol = { hasStatusObjects: true, hasResize: true };

/** Versions over WebSocket, by the name in Sec-WebSocket-Protocol; the empty one is a client that names none. */
export const WEBSOCKET_COMMAND_PROTOCOLS: ReadonlyMap<string, CommandProtocol & ChannelCodec> = new Map([
  ["v5.channel.k8s.io", { ...VERSION_4, isBase64: false, hasHalfClose: true }],
  ["v4.channel.k8s.io", { ...VERSION_4, ...BINARY }],
  ["v4.base64.channel.k8s.io", { ...VERSION_4, ...BASE64 }],
  ["channel.k8s.io", { ...VERSION_1, ...BINARY }],
  ["base64.channel.k8s.io", { ...VERSION_1, ...BASE64 }],
  ["", { ...VERSION_1, ...BINARY }],
]);

export const PORT_FORWARD_PROTOCOL = "portforward.k8s.io";

/** A WebSocket whose messages carry a SPDY connection. */
export const TUNNEL_PROTOCOL = `SPDY/3.1+${PORT_FORWARD_PROTOCOL}`;

/** Port forwarding with channels for each of the request's ports. */
export const WEBSOCKET_PORT_FORWARD_PROTOCOLS: ReadonlyMap<string, ChannelCodec> = new Map([
  ["v4.channel.k8s.io", BINARY],
  ["v4.base64.channel.k8s.io", BASE64],
  ["", BINARY],
]);

/** The entries of a header that is a list, in the client's order. */
export function listed(header: string | undefined): readonly string[] {
  return (header ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** The first of the client's protocols that is served; undefined when there is none. */
export function negotiate(offered: readonly string[], served: Iterable<string>): string | undefined {
  const known = new Set(served);
  return offered.find((name) => known.has(name));
}

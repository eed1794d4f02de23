// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws-node";
import { assert } from "../lib/assert.ts";
import { serveCommandOverSpdy } from "./command-over-spdy.ts";
import { serveCommandOverWebSocket } from "./command-over-websocket.ts";
import { Refusal, refuse, switchToSpdy } from "./http-answer.ts";
import { type PortForwardOptions, servePortForwardOverSpdy } from "./port-forward-over-spdy.ts";
import { servePortForwardOverWebSocket } from "./port-forward-over-websocket.ts";
import {
  listed,
  negotiate,
  PORT_FORWARD_PROTOCOL,
  SPDY_COMMAND_PROTOCOLS,
  TUNNEL_PROTOCOL,
  WEBSOCKET_COMMAND_PROTOCOLS,
  WEBSOCKET_PORT_FORWARD_PROTOCOLS,
} from "./protocols.ts";
import type { CommandOptions } from "./remote-command.ts";
import type { CommandTarget, PortForwardTarget, StreamingRequest } from "./requests.ts";
import { acceptWebSocket } from "./websocket.ts";
import { duplexOver } from "./websocket-duplex.ts";

/** A request for another protocol, as Node hands it over. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What the client has sent beyond the request. */
  readonly head: Buffer;
}

/** What is done on a connection once it speaks a protocol that both sides know. */
export interface Services {
  command(target: CommandTarget): CommandOptions;
  portForward(target: PortForwardTarget): PortForwardOptions;
  readonly streamCreationLimitMs: number;
  /** How long a client may take to read the last of a session. */
  readonly closeTimeoutMs: number;
}

/**
 * Answers an upgrade for a redeemed request: with the protocol that is agreed on, or with what is wrong,
 * which closes the connection and is false.
 */
export function serveUpgrade(upgrade: Upgrade, target: StreamingRequest, services: Services): boolean {
  try {
    const { headers } = upgrade.request;
    const wanted = (headers.upgrade ?? "").toLowerCase();
    if (Number(headers["content-length"] ?? 0) !== 0 || headers["transfer-encoding"] !== undefined) {
      throw new Refusal(400, "unable to upgrade: such a request has no body");
    }
    if (wanted === "websocket") serveOverWebSocket(upgrade, target, services);
    else if (wanted.includes("spdy/3.1")) serveOverSpdy(upgrade, target, services);
    else throw new Refusal(400, "unable to upgrade: this server speaks SPDY/3.1 and websocket");
    return true;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refuse(upgrade.socket, error);
    return false;
  }
}

function serveOverSpdy(upgrade: Upgrade, target: StreamingRequest, services: Services): void {
  const { socket, head } = upgrade;
  if (target.kind === "portforward") {
    switchToSpdy(socket, negotiateSpdy(upgrade, [PORT_FORWARD_PROTOCOL]));
    void servePortForwardOverSpdy(socket, head, services.portForward(target));
    return;
  }
  const name = negotiateSpdy(upgrade, [...SPDY_COMMAND_PROTOCOLS.keys()]);
  const protocol = SPDY_COMMAND_PROTOCOLS.get(name);
  assert(protocol !== undefined, "a negotiated protocol is served");
  switchToSpdy(socket, name);
  const { streamCreationLimitMs, closeTimeoutMs } = services;
  const options = { ...services.command(target), streamCreationLimitMs, closeTimeoutMs };
  void serveCommandOverSpdy(socket, head, target, protocol, options);
}

function negotiateSpdy({ request }: Upgrade, served: readonly string[]): string {
  const header = request.headers["x-stream-protocol-version"];
  const offered = listed(Array.isArray(header) ? header.join(",") : header);
  if (offered.length === 0) {
    throw new Refusal(400, "unable to upgrade: the header X-Stream-Protocol-Version is required");
  }
  const name = negotiate(offered, served);
  if (name !== undefined) return name;
  throw new Refusal(
    403,
    `unable to upgrade: none of the client's protocols is served; those that are: ${served.join(", ")}`,
    served.map((protocol) => ["X-Accepted-Stream-Protocol-Versions", protocol]),
  );
}

function serveOverWebSocket(upgrade: Upgrade, target: StreamingRequest, services: Services): void {
  if (target.kind === "portforward") {
    servePorts(upgrade, target, services);
    return;
  }
  const name = negotiateWebSocket(upgrade, [...WEBSOCKET_COMMAND_PROTOCOLS.keys()]);
  const protocol = WEBSOCKET_COMMAND_PROTOCOLS.get(name);
  assert(protocol !== undefined, "a negotiated protocol is served");
  accept(upgrade, services, name, (opened) =>
    serveCommandOverWebSocket(opened, target, protocol, services.command(target)),
  );
}

function servePorts(upgrade: Upgrade, target: PortForwardTarget, services: Services): void {
  const name = negotiateWebSocket(upgrade, [TUNNEL_PROTOCOL, ...WEBSOCKET_PORT_FORWARD_PROTOCOLS.keys()]);
  const codec = WEBSOCKET_PORT_FORWARD_PROTOCOLS.get(name);
  if (codec === undefined) {
    accept(upgrade, services, name, (opened) =>
      servePortForwardOverSpdy(duplexOver(opened), Buffer.alloc(0), services.portForward(target)),
    );
    return;
  }
  if (target.ports.length === 0) {
    throw new Refusal(400, `unable to upgrade: without ${TUNNEL_PROTOCOL} the request has to name ports`);
  }
  accept(upgrade, services, name, (opened) =>
    servePortForwardOverWebSocket(opened, target.ports, codec, services.portForward(target)),
  );
}

function negotiateWebSocket({ request }: Upgrade, served: readonly string[]): string {
  const offered = listed(request.headers["sec-websocket-protocol"]);
  const name = negotiate(offered.length === 0 ? [""] : offered, served);
  if (name !== undefined) return name;
  const known = served.filter((protocol) => protocol !== "").join(", ");
  throw new Refusal(403, `unable to upgrade: the protocols that are served are ${known}`);
}

function accept(
  { request, socket, head }: Upgrade,
  { closeTimeoutMs }: Services,
  protocol: string,
  serve: (opened: WebSocket) => Promise<void>,
): void {
  const handshake = { request, socket, head, protocol, closeTimeoutMs };
  acceptWebSocket(handshake, (opened) => void serve(opened));
}

// SPDX-License-Identifier: Apache-2.0
import { messageOf } from "../errors.ts";
import { connectedSocket } from "../linux/connected-socket.ts";
import type { Fd } from "../linux/fd.ts";
import { failureOf, type Query, readQuery, SERVFAIL, SHORT_BYTES } from "./message.ts";
import { listenOn, MAX_QUERY_BYTES, receiveDatagrams } from "./sockets.ts";
import { forward, framed, messageReader, type Upstream } from "./upstream.ts";
import { isOwnName, type Names, ownAnswer } from "./zone.ts";

/** Where pods ask for names. */
export interface NameServer {
  /** Answers for the pods' domain by these names from now on; until then asking for one fails. */
  answerFor(names: Names): void;
  /**
   * The address that a pod made now is to ask, or undefined where there is none: it is turned off, the pod comes into
   * a network of plugins, or the port is taken, of which the log tells.
   */
  address(): string | undefined;
  close(): void;
}

export interface NameServerDeps {
  /** The machine's addresses in podrt's own network; it listens on these and no others. */
  readonly gateways: () => readonly string[];
  /** Whether the next pod comes into that network. */
  readonly isUsed: () => boolean;
  /** Whether an address is of that network: nobody else is answered. */
  readonly isClient: (address: string) => boolean;
  /** Who answers for all other names, the first that should be asked first. */
  readonly upstreams: () => readonly Upstream[];
  readonly port: number;
  readonly log: { warn(fields: object, message: string): void };
}

/** The port of domain names. */
export const DNS_PORT = 53;
/** Queries that wait for a server, of all pods and of one; past that the answer is that it failed. */
const MAX_WAITING = 512;
const MAX_WAITING_EACH = 64;
const MAX_CONNECTIONS = 128;
const MAX_CONNECTIONS_EACH = 16;
/** A connection on which nothing comes is closed, and one that does not take its answers. */
const IDLE_MS = 10_000;
const MAX_UNREAD_BYTES = 256 * 1024;

/** Who answers nothing. */
export const NO_NAME_SERVER: NameServer = {
  answerFor: () => {},
  address: () => undefined,
  close: () => {},
};

/** Answers the pods of podrt's own network: for the pods' domain itself, for the rest by asking others. */
export function openNameServer(deps: NameServerDeps): NameServer {
  const waiting = counted(MAX_WAITING, MAX_WAITING_EACH);
  const connections = counted(MAX_CONNECTIONS, MAX_CONNECTIONS_EACH);
  const open = new Set<ReturnType<typeof connectedSocket>>();
  let bound: { readonly gateways: string; readonly sockets: readonly Disposable[] } | undefined;
  let problem = "";
  let names: Names | undefined;

  /** Calls `send` with the answer, at once where it is known here. */
  const answer = (
    message: Uint8Array,
    from: string,
    transport: "udp" | "tcp",
    send: (answer: Uint8Array) => void,
  ): void => {
    const reading = readQuery(message);
    if (reading.kind === "refused") send(reading.answer);
    if (reading.kind !== "query") return;
    const { query } = reading;
    const maxBytes = transport === "udp" ? SHORT_BYTES : 0xffff;
    const own = isOwnName(query, deps.isClient)
      ? names === undefined
        ? failureOf(query, SERVFAIL)
        : ownAnswer(query, names, maxBytes)
      : undefined;
    if (own !== undefined) send(own);
    else if (!waiting.enter(from)) send(failureOf(query, SERVFAIL));
    else {
      void askOthers(query, message, transport)
        .catch(() => failureOf(query, SERVFAIL))
        .then(send)
        .finally(() => waiting.leave(from));
    }
  };
  const askOthers = async (query: Query, message: Uint8Array, transport: "udp" | "tcp") => {
    // A machine whose own resolver is this one would ask it for ever.
    const own = new Set(deps.gateways());
    const upstreams = deps.upstreams().filter(({ address, port }) => port !== deps.port || !own.has(address));
    return (await forward(query, message, upstreams, transport)) ?? failureOf(query, SERVFAIL);
  };
  const serveConnection = (connection: Fd, from: string) => {
    if (!deps.isClient(from) || !connections.enter(from)) return connection.close();
    const socket = connectedSocket(connection);
    open.add(socket);
    const reader = messageReader(MAX_QUERY_BYTES, (message) =>
      answer(message, from, "tcp", (bytes) => {
        if (socket.destroyed) return;
        socket.write(framed(bytes));
        if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      }),
    );
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on("data", (bytes: Uint8Array) => {
      if (!reader(bytes)) socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (open.delete(socket)) connections.leave(from);
    });
  };

  const bind = (gateways: readonly string[]) => {
    const sockets: Disposable[] = [];
    try {
      for (const gateway of gateways) {
        sockets.push(
          receiveDatagrams(gateway, deps.port, ({ message, from, answer: send }) => {
            if (deps.isClient(from)) answer(message, from, "udp", send);
          }),
          listenOn(gateway, deps.port, serveConnection),
        );
      }
      problem = "";
      return sockets;
    } catch (error) {
      for (const socket of sockets) socket[Symbol.dispose]();
      if (problem !== messageOf(error)) {
        problem = messageOf(error);
        const address = `port ${deps.port} of ${gateways.join(" and ")}`;
        deps.log.warn(
          { error: problem },
          `pods have the machine's resolvers and no names of each other: cannot listen on ${address}; free it, or set dns.enabled = false`,
        );
      }
      return undefined;
    }
  };
  const unbind = () => {
    for (const socket of bound?.sockets ?? []) socket[Symbol.dispose]();
    bound = undefined;
  };
  const keepBound = () => {
    const gateways = deps.gateways();
    if (bound?.gateways === gateways.join()) return;
    unbind();
    const sockets = bind(gateways);
    if (sockets !== undefined) bound = { gateways: gateways.join(), sockets };
  };

  keepBound();
  return {
    answerFor(those) {
      names = those;
    },
    address() {
      // Also tries again what failed, and follows the network to other addresses.
      keepBound();
      if (bound === undefined || !deps.isUsed()) return undefined;
      const gateways = deps.gateways();
      return gateways.find((gateway) => !gateway.includes(":")) ?? gateways[0];
    },
    close() {
      unbind();
      for (const socket of open) socket.destroy();
    },
  };
}

/** Counts what goes on, of all and of each; `enter` is false where that would be too much. */
function counted(most: number, mostEach: number): { enter(who: string): boolean; leave(who: string): void } {
  const counts = new Map<string, number>();
  let total = 0;
  return {
    enter(who) {
      const count = counts.get(who) ?? 0;
      if (total >= most || count >= mostEach) return false;
      total++;
      counts.set(who, count + 1);
      return true;
    },
    leave(who) {
      total--;
      const count = counts.get(who) ?? 1;
      if (count === 1) counts.delete(who);
      else counts.set(who, count - 1);
    },
  };
}

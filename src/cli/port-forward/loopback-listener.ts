// SPDX-License-Identifier: Apache-2.0
import { createServer, type Server, type Socket } from "node:net";
import { FailedPreconditionError, messageOf } from "../../errors.ts";

/** A TCP port of this machine's loopback, of both address families where it has both. */
export interface LoopbackListener extends Disposable {
  readonly port: number;
  /** Where it listens, as in `127.0.0.1:8080` and `[::1]:8080`. */
  readonly addresses: readonly string[];
}

const FAMILIES = ["127.0.0.1", "::1"] as const;
/** A port that the kernel chose for one family may be taken in the other. */
const ATTEMPTS = 8;
/** Connections at a time; each is one to the daemon, too. */
const MAX_CONNECTIONS = 256;
/** What a machine without one of the families answers. */
const NO_FAMILY: ReadonlySet<string> = new Set(["EADDRNOTAVAIL", "EAFNOSUPPORT"]);

/**
 * Listens on `port` of 127.0.0.1 and ::1, or on one that is free in both for 0. A connection is given to
 * `onConnection` half-open: its end is not answered with one. FailedPreconditionError where the port is taken.
 */
export async function listenOnLoopback(
  port: number,
  onConnection: (socket: Socket) => void,
): Promise<LoopbackListener> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await listenOnce(port, onConnection);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (port === 0 && code === "EADDRINUSE" && attempt < ATTEMPTS) continue;
      throw refusal(port, error);
    }
  }
}

async function listenOnce(port: number, onConnection: (socket: Socket) => void): Promise<LoopbackListener> {
  using opened = new DisposableStack();
  const addresses: string[] = [];
  let actual = port;
  let missing: unknown;
  for (const host of FAMILIES) {
    const server = createServer({ allowHalfOpen: true }, onConnection);
    server.maxConnections = MAX_CONNECTIONS;
    try {
      await listening(server, host, actual);
    } catch (error) {
      if (!NO_FAMILY.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      missing = error;
      continue;
    }
    opened.defer(() => server.close());
    actual = (server.address() as { port: number }).port;
    addresses.push(host.includes(":") ? `[${host}]:${actual}` : `${host}:${actual}`);
  }
  if (addresses.length === 0) throw missing;
  const owned = opened.move();
  return { port: actual, addresses, [Symbol.dispose]: () => owned.dispose() };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: true }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function refusal(port: number, error: unknown): FailedPreconditionError {
  const { code } = error as NodeJS.ErrnoException;
  const why =
    code === "EADDRINUSE"
      ? `something listens there already; name another local port, as in ${port === 65_535 ? 8080 : port + 1}:PORT, or :PORT for any`
      : code === "EACCES"
        ? "ports below 1024 are root's; name another local port, as in 8080:PORT"
        : messageOf(error);
  return new FailedPreconditionError(`cannot listen on port ${port} of this machine's loopback: ${why}`);
}

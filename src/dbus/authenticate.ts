// SPDX-License-Identifier: Apache-2.0
import { connect, type Socket } from "node:net";
import { messageOf, UnavailableError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";

/*
 * The beginning of a connection (D-Bus Specification, "Authentication Protocol"): lines of text, until BEGIN. With the
 * mechanism EXTERNAL the other side asks the kernel who is connected, and compares that with the user named here.
 */

const LINE_LIMIT_BYTES = 1024;

/** A socket at which messages may be written, and what came in after the last line. */
export interface Authenticated {
  readonly socket: Socket;
  readonly rest: Uint8Array;
}

/** Connects to the unix socket at `path` as this process's user; UnavailableError when that fails or takes too long. */
export async function openAuthenticated(path: string, timeoutMs: number): Promise<Authenticated> {
  const socket = connect({ path });
  // An error also closes it, and whoever has the socket then hears of that.
  socket.on("error", () => {});
  try {
    const rest = await withDeadline(authenticate(socket), timeoutMs, "logging in");
    return { socket, rest };
  } catch (error) {
    socket.destroy();
    throw new UnavailableError(`cannot connect to ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function authenticate(socket: Socket): Promise<Uint8Array> {
  const user = Buffer.from(String(process.geteuid?.() ?? 0)).toString("hex");
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);
    const settle = (outcome: () => void) => {
      socket.off("data", onData).off("error", onError).off("close", onClose);
      outcome();
    };
    const fail = (reason: string) => settle(() => reject(new UnavailableError(reason)));
    const onError = (error: Error) => fail(error.message);
    const onClose = () => fail("it was closed from the other side before the login was done");
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf("\r\n");
      if (end === -1 && received.length <= LINE_LIMIT_BYTES) return;
      const line = received.toString("latin1", 0, end === -1 ? LINE_LIMIT_BYTES : end);
      if (end === -1 || !/^OK [0-9a-f]+$/i.test(line)) {
        return fail(`the login as root was answered with ${JSON.stringify(line.slice(0, 100))}`);
      }
      socket.write("BEGIN\r\n");
      settle(() => resolve(received.subarray(end + 2)));
    };
    socket.on("data", onData).on("error", onError).on("close", onClose);
    // A null byte goes before everything, for systems that send credentials along with it.
    socket.write(`\0AUTH EXTERNAL ${user}\r\n`);
  });
}

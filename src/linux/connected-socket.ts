// SPDX-License-Identifier: Apache-2.0
import { connect, type NetConnectOpts, type Socket } from "node:net";
import type { Fd } from "./fd.ts";

/** A connected stream socket as one of node:net's, which takes its descriptor over. */
export function connectedSocket(socket: Fd, options: { readonly allowHalfOpen?: boolean } = {}): Socket {
  // Bun takes over a connected descriptor that is given to it so; the types are those of Node, which cannot.
  return connect({ fd: socket.release(), ...options } as unknown as NetConnectOpts);
}

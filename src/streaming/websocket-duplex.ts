// SPDX-License-Identifier: Apache-2.0
import { Duplex } from "node:stream";
import type { WebSocket } from "ws-node";

const NORMAL_CLOSURE = 1000;

/**
 * A byte stream over the binary messages of a WebSocket, whose boundaries mean nothing. Its end is a close
 * with the code of success; messages of text end it with an error.
 */
export function duplexOver(socket: WebSocket): Duplex {
  const duplex = new Duplex({
    read() {
      if (socket.isPaused) socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      socket.send(chunk, done);
    },
    final(done) {
      socket.once("close", () => done());
      if (socket.readyState === socket.CLOSED) done();
      // The close is answered in a message, behind whatever was not read.
      socket.resume();
      socket.close(NORMAL_CLOSURE);
    },
    destroy(error, done) {
      socket.terminate();
      done(error);
    },
  });
  socket.on("message", (data: Buffer, isBinary: boolean) => {
    if (!isBinary) duplex.destroy(new Error("a tunnel carries binary messages only"));
    else if (!duplex.push(data)) socket.pause();
  });
  socket.on("error", (error) => duplex.destroy(error));
  socket.on("close", () => duplex.push(null));
  return duplex;
}

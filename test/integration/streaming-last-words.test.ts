// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { openSession, transports } from "../fixtures/session-client.ts";
import { startFakeStreaming } from "../fixtures/streaming-server.ts";

// Among the integration tests because it takes its time: longer than connections usually have to close.
const PAUSE_MS = 12_000;
const STREAMS = { stdin: true, stdout: true, stderr: true, tty: false };

test("a client may take long over the last of a session, and is there all the while", async () => {
  await Promise.all(
    transports.map(async (transport) => {
      await using streaming = await startFakeStreaming();
      const url = streaming.server.urlFor({ kind: "exec", containerId: "c", command: ["x"], ...STREAMS });
      const client = await openSession(url, transport, STREAMS);
      const session = await streaming.session();
      let received = 0;
      client.onOutput(({ length }) => {
        received += length;
      });
      client.socket.pause();
      const data = new Uint8Array(64 * 1024);
      session.say("stdout", data);
      session.exit(0);
      // As Go's clients do; to a connection that is closed already it would bring a reset.
      const pings = setInterval(() => client.ping(), 1000);
      await Bun.sleep(PAUSE_MS);
      clearInterval(pings);
      client.socket.resume();
      expect((await client.status()).status).toBe("Success");
      expect(received).toBe(data.length);
    }),
  );
}, 60_000);

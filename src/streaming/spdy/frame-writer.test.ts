// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Duplex, duplexPair } from "node:stream";
import { collect } from "../../../test/fixtures/spdy-peer.ts";
import { until } from "../../../test/fixtures/spdy-server.ts";
import { messageOf } from "../../errors.ts";
import { goAway, ping } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";

const LARGE_BYTES = 200_000;

/** `1a 3b`: what each stream sent, frames of the same letter as one. */
function summary(frames: readonly string[]): string {
  const parts = frames.map((text) => text.replace(/^data (\d+)(?: fin)?:(.?).*$/, "$1$2"));
  return parts.filter((part, index) => part !== parts[index - 1]).join(" ");
}

test("frames leave in the order in which they came, small and large ones", async () => {
  const [client, server] = duplexPair();
  const received = collect(client);
  const writer = new FrameWriter(server);
  await writer.write(1, Buffer.from("a"));
  writer.control(ping(7));
  const writes = [writer.write(1, Buffer.alloc(LARGE_BYTES, "b")), writer.write(1, Buffer.from("c"))];
  const finished = writer.finish(1);
  await Promise.all([...writes, finished]);
  writer.end(goAway(1, 0));
  await received.ended;
  expect(summary(received.frames())).toBe("1a ping 7 1b 1c 1 goaway 1 0");
});

test("a write does not overtake one that waits, whoever hears first that there is room", async () => {
  const [client, server] = duplexPair();
  let writer: FrameWriter | undefined;
  server.once("drain", () => void writer?.write(1, Buffer.from("b")));
  writer = new FrameWriter(server);
  const first = writer.write(1, Buffer.alloc(LARGE_BYTES, "a"));
  const received = collect(client);
  await first;
  await until("all came", () => received.frames().includes("data 1:b"));
  expect(summary(received.frames())).toBe("1a 1b");
});

test("small frames of one tick go out as one", async () => {
  const sizes: number[] = [];
  const socket = new Duplex({
    read: () => {},
    write(chunk: Uint8Array, _, done) {
      sizes.push(chunk.length);
      done();
    },
  });
  const writer = new FrameWriter(socket);
  for (let id = 1; id <= 3; id++) writer.control(ping(id));
  await writer.write(1, Buffer.from("12345678"));
  await until("they left", () => sizes.length > 0);
  expect(sizes).toEqual([3 * 12 + 16]);
});

test("a half close that the socket keeps is rejected in the end", async () => {
  const writer = new FrameWriter(new Duplex({ read: () => {}, write: () => {} }));
  const finished = writer.finish(1).then(() => "finished", messageOf);
  await Bun.sleep(1);
  writer.cancelAll(new Error("lost"));
  expect(await finished).toBe("lost");
});

// SPDX-License-Identifier: Apache-2.0

import { heapStats } from "bun:jsc";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../src/errors.ts";
import { type SpdyConnection, type SpdyStream, serveSpdy } from "../../src/streaming/spdy/connection.ts";

const go = Bun.which("go");
if (go === null) console.log("skipped: streams of spdystream, because Go is not installed");

const MIB = 1024 * 1024;

/** What the server does with a stream is in the stream's header `mode`. */
const modes: Record<string, (stream: SpdyStream, connection: () => SpdyConnection) => Promise<void>> = {
  async echo(stream) {
    for await (const piece of stream.incoming) await stream.write(piece);
    await stream.end();
  },
  async refuse(stream) {
    stream.reset(3);
  },
  async source(stream) {
    const piece = new Uint8Array(MIB);
    for (let left = Number(stream.headers.get("mebibytes")); left > 0; left--) await stream.write(piece);
    await stream.end();
    const answer = Buffer.concat(await Array.fromAsync(stream.incoming)).toString();
    if (answer !== "ack") throw new Error(`the answer was ${answer}`);
  },
  async ignore(stream) {
    stream.discardIncoming();
  },
  async stdout(stream) {
    await stream.write(new Uint8Array(MIB));
    await stream.end();
  },
  async status(stream, connection) {
    await stream.write(Buffer.from("Success"));
    await stream.end();
    await connection().close();
  },
  async stall(stream) {
    await stream.closed;
  },
};

// Without Go there is no client to talk to, as said above.
describe.skipIf(go === null)("spdystream", () => {
  let directory: string;
  let program: string;
  let server: Server;
  const connections = new Set<SpdyConnection>();
  const troubles: string[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "podrt-spdy-go-"));
    program = join(directory, "spdy-client");
    server = createServer((_, response) => response.end());
    server.on("upgrade", (_, socket, head) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
      const connection: SpdyConnection = serveSpdy(socket, {
        head,
        limits: { probeIntervalMs: 100 },
        onStream(stream) {
          const mode = stream.headers.get("mode") ?? "";
          if (mode !== "refuse") stream.accept();
          modes[mode]!(stream, () => connection).catch((error) =>
            troubles.push(`${mode}: ${messageOf(error)}`),
          );
        },
      });
      connections.add(connection);
      void connection.closed.then(() => connections.delete(connection));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const build = Bun.spawn([go!, "build", "-o", program, "."], {
      cwd: join(import.meta.dir, "..", "spdy-client"),
      stderr: "inherit",
    });
    if ((await build.exited) !== 0) throw new Error("the SPDY client does not build");
  }, 300_000);

  afterAll(() => {
    for (const connection of connections) connection.destroy();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function run(kind: string, count = 1) {
    troubles.length = 0;
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const child = Bun.spawn([program, address, kind, String(count)], { stderr: "inherit" });
    const text = await child.stdout.text();
    expect(await child.exited).toBe(0);
    return text === "" ? undefined : (JSON.parse(text) as { bytes: number; done: number; errors: string[] });
  }

  async function allClosed() {
    await Promise.all([...connections].map(({ closed }) => closed));
  }

  test("gets 64 MiB back through each of four streams at once, with flat memory", async () => {
    Bun.gc(true);
    const before = process.memoryUsage().rss;
    let peak = 0;
    const sampling = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 20);
    const outcome = await run("echo", 4);
    clearInterval(sampling);
    expect(outcome).toEqual({ bytes: 4 * 64 * MIB, done: 4, errors: [] });
    expect(peak - before).toBeLessThan(100 * MIB);
    await allClosed();
    expect(troubles).toEqual([]);
  }, 120_000);

  test("opens 5,000 streams one after another on one connection, and none is kept", async () => {
    await run("sequential", 500);
    await allClosed();
    Bun.gc(true);
    const before = heapStats().objectCount;
    const outcome = await run("sequential", 5000);
    await allClosed();
    Bun.gc(true);
    const after = heapStats().objectCount;
    expect(outcome).toMatchObject({ done: 5000, errors: [] });
    expect(after - before).toBeLessThan(5000);
    expect(troubles).toEqual([]);
  }, 120_000);

  test("opens 5,000 streams, 50 at a time", async () => {
    expect(await run("parallel", 5000)).toMatchObject({ done: 5000, errors: [] });
    expect(troubles).toEqual([]);
  }, 120_000);

  test("has its pings answered beside data", async () => {
    expect(await run("ping", 200)).toMatchObject({ bytes: 8 * MIB, done: 201, errors: [] });
  });

  test("may reset streams in their middle", async () => {
    expect(await run("reset", 100)).toMatchObject({ done: 101, errors: [] });
    expect(troubles.every((text) => /was reset by the client, status 5/.test(text))).toBe(true);
    expect(troubles.length).toBe(100);
  });

  test("is refused streams", async () => {
    expect(await run("refused", 20)).toEqual({ bytes: 0, done: 20, errors: [] });
  });

  test("reads to the server's half close and may answer then", async () => {
    expect(await run("source", 100)).toEqual({ bytes: 100 * MIB, done: 1, errors: [] });
    await allClosed();
    expect(troubles).toEqual([]);
  });

  test("gets all output and the status when the server closes while stdin still comes", async () => {
    expect(await run("exit", 30)).toEqual({ bytes: 30 * MIB, done: 30, errors: [] });
    await allClosed();
  }, 60_000);

  test("leaves nothing behind after 300 sessions", async () => {
    const objects = async () => {
      await allClosed();
      Bun.gc(true);
      return heapStats().objectCount;
    };
    await run("exit", 30);
    const before = await objects();
    expect(await run("exit", 300)).toMatchObject({ done: 300, errors: [] });
    expect((await objects()) - before).toBeLessThan(3000);
    expect(troubles).toEqual([]);
  }, 60_000);

  test("may vanish while the server does not read, and the server notices", async () => {
    expect(await run("vanish")).toBeUndefined();
    await allClosed();
  }, 30_000);
});

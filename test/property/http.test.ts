// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type CriServer, serveCri } from "../../src/cri/server.ts";
import { RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { implementation } from "../fixtures/cri-service.ts";
import { type FakeStreaming, startFakeStreaming } from "../fixtures/streaming-server.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

/** Longer than any server may take to see that nothing more comes. */
const PATIENCE_MS = 20_000;
let directory: string;
let cri: CriServer;
let streaming: FakeStreaming;
const thrown: unknown[] = [];
const note = (error: unknown) => thrown.push(error);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "podrt-http-"));
  cri = await serveCri({
    socketPath: join(directory, "cri.sock"),
    routes: (router) => void router.service(RuntimeService, implementation),
  });
  streaming = await startFakeStreaming({ requestTimeoutMs: 300, streamCreationLimitMs: 300 });
  process.on("uncaughtException", note).on("unhandledRejection", note);
});

afterAll(async () => {
  process.off("uncaughtException", note).off("unhandledRejection", note);
  await streaming[Symbol.asyncDispose]();
  await cri.close();
  rmSync(directory, { recursive: true });
});

/** Sends the bytes in two pieces and no more; answers what came back before the server ended the connection. */
async function exchange(open: () => Socket, bytes: Buffer, place: number): Promise<string> {
  const socket = open();
  let answer = "";
  socket.on("data", (data: Buffer) => {
    answer += data.toString("latin1");
  });
  socket.on("error", () => {});
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const middle = place % (bytes.length + 1);
  socket.write(bytes.subarray(0, middle));
  await new Promise((resolve) => setImmediate(resolve));
  socket.end(bytes.subarray(middle));
  const late = AbortSignal.timeout(PATIENCE_MS);
  late.addEventListener("abort", () => socket.destroy());
  await ended;
  expect(late.aborted).toBe(false);
  return answer;
}

const lines = (...text: string[]) => Buffer.from(`${text.join("\r\n")}\r\n\r\n`, "latin1");
const header = fc.constantFrom(
  "Connection: Upgrade",
  "Connection: keep-alive, Upgrade",
  "Upgrade: SPDY/3.1",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "X-Stream-Protocol-Version: v4.channel.k8s.io",
  "X-Stream-Protocol-Version: ,,,",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "Sec-WebSocket-Key: x",
  "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io",
  "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io",
  "Content-Length: 5",
  "Content-Length: -1",
  "Transfer-Encoding: chunked",
  "Expect: 100-continue",
  `X-Long: ${"x".repeat(20_000)}`,
  "no colon",
  "\x00: \xff",
);
const method = fc.constantFrom("GET", "POST", "PRI", "CONNECT", "OPTIONS", "x", "");
const request = (paths: fc.Arbitrary<string>) =>
  fc
    .tuple(
      method,
      paths,
      fc.constantFrom("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9"),
      fc.array(header, { maxLength: 8 }),
    )
    .map(([verb, path, version, headers]) => lines(`${verb} ${path} ${version}`, "Host: x", ...headers));
const anyBytes = (paths: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 4, arbitrary: request(paths) },
    { weight: 4, arbitrary: request(paths).chain(mutatedBytes) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  );

test("whatever is sent to the streaming server, it ends the connection and serves the next", async () => {
  const target = {
    kind: "exec",
    containerId: "c",
    command: ["true"],
    tty: false,
    stdin: false,
    stdout: true,
    stderr: true,
  } as const;
  // A server lets some hundred URLs wait for their callers, not as many as a long run has.
  const issued: string[] = [];
  const newPath = fc.nat(899).map((place) => {
    issued[place] ??= new URL(streaming.server.urlFor(target)).pathname;
    return issued[place];
  });
  const paths = fc.oneof(
    newPath,
    fc.constantFrom("/", "/exec/", "/exec/x", "//", "*", "http://x/exec/y", "/exec/%00"),
  );
  const { port } = new URL(streaming.server.urlFor(target));
  const open = () => connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
  await fc.assert(
    fc.asyncProperty(anyBytes(paths), fc.nat(), async (bytes, place) => {
      await exchange(open, bytes, place);
      // Sessions that somebody has got at.
      for (const session of streaming.sessions.splice(0)) session.exit(0);
    }),
    fuzz(120),
  );
  expect(await exchange(open, lines("GET /exec/unknown HTTP/1.1", "Host: x"), 0)).toStartWith(
    "HTTP/1.1 404 ",
  );
  expect(thrown).toEqual([]);
});

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** A frame of HTTP/2 (RFC 9113, section 4.1). */
const http2Frame = fc
  .tuple(fc.integer({ min: 0, max: 12 }), fc.nat(255), fc.nat(5), fc.uint8Array({ maxLength: 80 }))
  .map(([type, flags, stream, payload]) => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  });

test("whatever is sent to the socket of the CRI, it ends the connection and serves the next", async () => {
  const path = join(directory, "cri.sock");
  const open = () => connect({ path, allowHalfOpen: true });
  const version = "/runtime.v1.RuntimeService/Version";
  const http1 = anyBytes(
    fc.constantFrom(version, "/", `${version}?connect=v1&message=%00`, "/runtime.v1.X/Y"),
  );
  const http2 = fc
    .array(http2Frame, { maxLength: 8 })
    .map((frames) => Buffer.concat([PREFACE, ...frames]))
    .chain((bytes) => fc.oneof(fc.constant(bytes), mutatedBytes(bytes)));
  await fc.assert(
    fc.asyncProperty(fc.oneof(http1, http2), fc.nat(), async (bytes, place) => {
      await exchange(open, bytes, place);
    }),
    fuzz(150),
  );
  const good = Buffer.concat([
    lines(
      `POST ${version} HTTP/1.1`,
      "Host: x",
      "Content-Type: application/json",
      "Content-Length: 2",
      "Connection: close",
    ),
    Buffer.from("{}"),
  ]);
  expect(await exchange(open, good, 0)).toContain("podrt");
  expect(thrown).toEqual([]);
});

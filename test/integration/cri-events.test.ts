// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Runtime } from "../../src/container/runtime.ts";
import { openEventFeed } from "../../src/cri/event-feed.ts";
import { criRoutes } from "../../src/cri/routes.ts";
import { type CriServer, serveCri } from "../../src/cri/server.ts";
import { logger } from "../../src/lib/logger.ts";
import { rpcHandled } from "../../src/telemetry/daemon-families.ts";
import { fakeStreaming, id, newRuntime } from "../fixtures/cri-clients.ts";
import { eventually } from "./harness/eventually.ts";

let directory: string;
let server: CriServer;
let runtime: Runtime;
let listeners = 0;
/** Those that the routes themselves have. */
let idle = 0;
const { level } = logger;

beforeAll(async () => {
  logger.level = "silent";
  directory = mkdtempSync(join(tmpdir(), "podrt-events-"));
  const { runtime: plain } = newRuntime();
  const { emit, subscribe } = plain.events;
  const counted: Runtime["events"] = {
    emit,
    subscribe(listener) {
      listeners++;
      const unsubscribe = subscribe(listener);
      return () => {
        listeners--;
        unsubscribe();
      };
    },
  };
  runtime = { ...plain, events: counted };
  const routes = criRoutes(runtime, fakeStreaming, openEventFeed(runtime));
  server = await serveCri({ socketPath: join(directory, "podrt.sock"), routes });
  idle = listeners;
});

afterAll(async () => {
  logger.level = level;
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

const emptyMessage = Buffer.alloc(5);

/** A gRPC client that has subscribed and reads nothing. */
async function subscribeWithoutReading() {
  const socket = connect(join(directory, "podrt.sock"));
  const session = connectHttp2("http://localhost", { createConnection: () => socket });
  const stream = session.request({
    ":method": "POST",
    ":path": "/runtime.v1.RuntimeService/GetContainerEvents",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {});
  stream.pause();
  stream.end(emptyMessage);
  await eventually("it has subscribed", () => listeners === idle + 1);
  return { socket, session, stream };
}

type Subscriber = Awaited<ReturnType<typeof subscribeWithoutReading>>;

function emit(count: number): void {
  for (let round = 0; round < count; round++) runtime.events.emit("started", id("ca"), id("aa"));
}

test("a client that does not read is cut off with its queue full, and learns so when it reads", async () => {
  const { session, stream } = await subscribeWithoutReading();
  let sent = 0;
  await eventually("it is cut off", async () => {
    emit(200);
    sent += 200;
    return listeners === idle;
  });
  // What HTTP/2 itself has room for is a window, not megabytes.
  expect(sent).toBeLessThan(5000);
  let trailers: Record<string, unknown> = {};
  stream.on("trailers", (headers) => {
    trailers = headers;
  });
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  stream.resume();
  await eventually("the stream has ended", () => trailers["grpc-status"] !== undefined);
  expect(trailers["grpc-status"]).toBe("8");
  expect(decodeURIComponent(String(trailers["grpc-message"]))).toContain("events were not read in time");
  expect(bytes).toBeGreaterThan(0);
  session.destroy();
});

/** How often the call has ended with that code. */
function ended(code: string): number {
  const ofCode = ({ labels }: { labels?: Readonly<Record<string, string>> | undefined }) =>
    labels?.["rpc"] === "GetContainerEvents" && labels["code"] === code;
  return [...rpcHandled.samples()].find(ofCode)?.value ?? 0;
}

test.each([
  ["vanishes", ({ session }: Subscriber) => session.destroy()],
  ["cancels", ({ stream }: Subscriber) => stream.close(constants.NGHTTP2_CANCEL)],
  ["fails", ({ stream }: Subscriber) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)],
] as const)("a client that %s is forgotten, and that is no failure of podrt's", async (_, leave) => {
  const before = [ended("Canceled"), ended("Internal")] as const;
  const subscriber = await subscribeWithoutReading();
  leave(subscriber);
  await eventually("nobody listens", () => listeners === idle);
  await eventually("the call has ended", () => ended("Canceled") + ended("Internal") > before[0] + before[1]);
  expect([ended("Canceled"), ended("Internal")]).toEqual([before[0] + 1, before[1]]);
  subscriber.session.destroy();
});

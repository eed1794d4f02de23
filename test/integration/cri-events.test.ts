// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Runtime } from "../../src/container/runtime.ts";
import { openEventFeed } from "../../src/cri/event-feed.ts";
import { criRoutes } from "../../src/cri/routes.ts";
import { type CriServer, serveCri } from "../../src/cri/server.ts";
import { logger } from "../../src/lib/logger.ts";
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
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect(join(directory, "podrt.sock")),
  });
  const stream = session.request({
    ":method": "POST",
    ":path": "/runtime.v1.RuntimeService/GetContainerEvents",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.pause();
  stream.end(emptyMessage);
  await eventually("it has subscribed", () => listeners === idle + 1);
  return { session, stream };
}

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

test("a client that vanishes is forgotten", async () => {
  const { session } = await subscribeWithoutReading();
  session.destroy();
  await eventually("nobody listens", () => listeners === idle);
});

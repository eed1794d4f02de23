// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CriServer, serveCri } from "../../src/cri/server.ts";
import { RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { logger } from "../../src/lib/logger.ts";
import { implementation, waitingCalls } from "../fixtures/cri-service.ts";

const go = Bun.which("go");
if (go === null) console.log("skipped: calls of grpc-go, because Go is not installed");

// Without Go there is no client to call with, as said above.
describe.skipIf(go === null)("gRPC of grpc-go", () => {
  const { level } = logger;
  let directory: string;
  let program: string;
  let socketPath: string;
  let server: CriServer;

  async function run(kind: string, count = 1) {
    const child = Bun.spawn([program, socketPath, kind, String(count)], { stderr: "inherit" });
    const text = await child.stdout.text();
    expect(await child.exited).toBe(0);
    return JSON.parse(text) as {
      codes: Record<string, number>;
      message: string;
      bytes: number;
      messages: number;
    };
  }

  beforeAll(async () => {
    logger.level = "silent";
    directory = mkdtempSync(join(tmpdir(), "podrt-grpc-go-"));
    program = join(directory, "grpc-client");
    socketPath = join(directory, "podrt.sock");
    server = await serveCri({
      socketPath,
      routes: (router) => {
        router.service(RuntimeService, implementation);
      },
    });
    const build = Bun.spawn([go!, "build", "-o", program, "."], {
      cwd: join(import.meta.dir, "..", "grpc-client"),
      stderr: "inherit",
    });
    if ((await build.exited) !== 0) throw new Error("the grpc-go client does not build");
  }, 300_000);

  afterAll(async () => {
    logger.level = level;
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test("gets 200 answers at once", async () => {
    const outcome = await run("version", 200);
    expect(outcome.codes).toEqual({ OK: 200 });
    expect(outcome.bytes).toBe(200 * "podrt".length);
  });

  test("gets the code and sentence of an error", async () => {
    const outcome = await run("status");
    expect(outcome.codes).toEqual({ NotFound: 1 });
    expect(outcome.message).toBe("pod sandbox absent does not exist");
  });

  test("is told which field of a request is wrong", async () => {
    const outcome = await run("invalid");
    expect(outcome.codes).toEqual({ InvalidArgument: 1 });
    expect(outcome.message).toBe("config.metadata: must be set");
  });

  test("gets replies of 12 MiB, several at once", async () => {
    const outcome = await run("big-reply", 4);
    expect(outcome.codes).toEqual({ OK: 4 });
    expect(outcome.bytes).toBe(4 * 12 * 1024 * 1024);
  });

  test("is refused with a request of more than 16 MiB", async () => {
    expect((await run("big-request")).codes).toEqual({ ResourceExhausted: 1 });
  });

  test("gets DeadlineExceeded, and the work stops", async () => {
    expect((await run("deadline")).codes).toEqual({ DeadlineExceeded: 1 });
    await waitingCalls(0);
  });

  test("may name a deadline further away than a timer reaches", async () => {
    expect((await run("far-deadline")).codes).toEqual({ OK: 1 });
  });

  test("may cancel 500 calls at random moments, and their work stops", async () => {
    expect((await run("cancel", 500)).codes).toEqual({ Canceled: 500 });
    await waitingCalls(0);
    expect((await run("version")).codes).toEqual({ OK: 1 });
  });

  test("reads a stream up to the error that ends it", async () => {
    const outcome = await run("stream");
    expect(outcome.codes).toEqual({ NotFound: 1 });
    expect(outcome.messages).toBe(3);
  });

  test("gets Unimplemented for a call that does not exist", async () => {
    expect((await run("unknown")).codes).toEqual({ Unimplemented: 1 });
  });
});

// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  ExecSyncRequestSchema,
  PodSandboxStatusRequestSchema,
  RuntimeService,
  VersionResponseSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { logger } from "../lib/logger.ts";
import { MAX_MESSAGE_BYTES } from "./message-limit.ts";
import { type CriServer, serveCri } from "./server.ts";

const { level } = logger;
let directory: string;
let server: CriServer;
let session: ClientHttp2Session;
/** Headers that the last call of Version was seen with. */
let seen: { traceparent: string | null; timeoutMs: number | undefined; url: string };

beforeAll(async () => {
  logger.level = "silent";
  directory = mkdtempSync(join(tmpdir(), "podrt-unary-"));
  const socketPath = join(directory, "podrt.sock");
  server = await serveCri({
    socketPath,
    routes: (router) => {
      router.service(RuntimeService, {
        version: (_request, context) => {
          const { requestHeader, url } = context;
          seen = { traceparent: requestHeader.get("traceparent"), timeoutMs: context.timeoutMs(), url };
          if (requestHeader.has("add")) {
            context.responseHeader.set("added", "before");
            context.responseTrailer.set("added-too", "after");
          }
          return { runtimeName: "podrt" };
        },
        async execSync(_request, { signal }) {
          await new Promise((_resolve, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason)),
          );
          return {};
        },
      });
    },
  });
  session = connect("http://localhost", { createConnection: () => connectSocket(socketPath) });
});

afterAll(async () => {
  session.close();
  await server.close();
  rmSync(directory, { recursive: true });
  logger.level = level;
});

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Asked {
  readonly call?: string;
  readonly headers?: Record<string, string>;
  /** Sent one after the other. */
  readonly parts?: readonly Uint8Array[];
  readonly leavesOpen?: boolean;
}

function ask({
  call = "Version",
  headers = {},
  parts = [prefixed()],
  leavesOpen = false,
}: Asked): Promise<Answer> {
  const stream = session.request({
    ":method": "POST",
    ":path": `/runtime.v1.RuntimeService/${call}`,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let answered: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (found) => {
      answered = found;
    });
    stream.on("trailers", (found) => {
      trailers = found;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => resolve({ headers: answered, trailers, body: Buffer.concat(chunks) }));
    void (async () => {
      for (const part of parts) {
        stream.write(part);
        await new Promise((next) => setImmediate(next));
      }
      if (!leavesOpen) stream.end();
    })();
  });
}

/** A message with its flags and length before it. */
function prefixed(message: Uint8Array = new Uint8Array(), flags = 0, length = message.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

const codeOf = ({ trailers }: Answer) => Number(trailers["grpc-status"]);
const nameIn = ({ body }: Answer) => fromBinary(VersionResponseSchema, body.subarray(5)).runtimeName;

test("a message is answered with one message, whole or byte by byte, by every name of its type", async () => {
  const whole = await ask({});
  expect([whole.headers[":status"], codeOf(whole), nameIn(whole)]).toEqual([200, 0, "podrt"]);
  expect(whole.headers["content-type"]).toBe("application/grpc+proto");
  const bytes = toBinary(PodSandboxStatusRequestSchema, create(PodSandboxStatusRequestSchema));
  const parts = Array.from(prefixed(bytes), (byte) => Uint8Array.of(byte));
  expect(nameIn(await ask({ parts, headers: { "content-type": "application/grpc+proto" } }))).toBe("podrt");
  const packed = prefixed(gzipSync(new Uint8Array()), 1);
  expect(nameIn(await ask({ parts: [packed], headers: { "grpc-encoding": "gzip" } }))).toBe("podrt");
});

test("calls see headers, deadline and address, and may add headers and trailers", async () => {
  const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
  const answer = await ask({ headers: { traceparent, add: "1", "grpc-timeout": "1000S" } });
  expect([answer.headers["added"], answer.trailers["added-too"], codeOf(answer)]).toEqual([
    "before",
    "after",
    0,
  ]);
  expect(seen).toMatchObject({ traceparent, url: "http://localhost/runtime.v1.RuntimeService/Version" });
  expect(seen.timeoutMs).toBeWithin(900_000, 1_000_001);
  // Some 11,000 years, for which no timer can wait.
  await ask({ headers: { "grpc-timeout": "99999999H" } });
  expect(seen.timeoutMs).toBeUndefined();
});

test("bodies that are not one message are refused as Connect refuses them", async () => {
  const cases: [readonly Uint8Array[], Code, string][] = [
    [[], Code.Unimplemented, "missing input message"],
    [[prefixed(), prefixed()], Code.Unimplemented, "extra input message"],
    [[prefixed(new Uint8Array(3), 0, 9)], Code.InvalidArgument, "incomplete"],
    [[Uint8Array.of(0, 0)], Code.InvalidArgument, "incomplete"],
    [[prefixed(new Uint8Array(), 1)], Code.Internal, "compressed"],
    [[prefixed(Uint8Array.of(0xff, 0xff))], Code.Internal, "parse binary"],
  ];
  for (const [parts, code, words] of cases) {
    const answer = await ask({ parts });
    const message = decodeURIComponent(String(answer.trailers["grpc-message"]));
    expect([codeOf(answer), message]).toEqual([code, expect.stringContaining(words)]);
  }
  const misspelt = await ask({ headers: { "grpc-timeout": "soon" } });
  expect(codeOf(misspelt)).toBe(Code.InvalidArgument);
  const more = [prefixed(new Uint8Array(MAX_MESSAGE_BYTES + 1)), new Uint8Array(64 * 1024)];
  expect(codeOf(await ask({ parts: more, leavesOpen: true }))).toBe(Code.ResourceExhausted);
  expect(nameIn(await ask({}))).toBe("podrt");
});

test("a deadline ends a call whose message does not come, and one that is being served", async () => {
  const headers = { "grpc-timeout": "50m" };
  const late = await ask({ headers, parts: [], leavesOpen: true });
  expect(codeOf(late)).toBe(Code.DeadlineExceeded);
  const request = toBinary(
    ExecSyncRequestSchema,
    create(ExecSyncRequestSchema, { containerId: "c", cmd: ["x"] }),
  );
  expect(codeOf(await ask({ call: "ExecSync", headers, parts: [prefixed(request)] }))).toBe(
    Code.DeadlineExceeded,
  );
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, test } from "bun:test";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { createServer, type Server } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Health, HealthCheckResponse_ServingStatus } from "../gen/grpc/health/v1/health_pb.ts";
import { connectTcp } from "../linux/tcp.ts";
import { type Action, failureOf } from "./actions.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listening(server: {
  listen(port: number, host: string): unknown;
  address(): unknown;
  close(): unknown;
}): Promise<number> {
  server.listen(0, "127.0.0.1");
  while (server.address() === null) await Bun.sleep(1);
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A server that answers each connection's first bytes, which it collects, with this text. */
function answering(requests: string[], text: (request: string) => string): Server {
  return createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (data) => {
      requests.push(data.toString());
      socket.end(text(data.toString()));
    });
  });
}

function outcome(action: Action, port: number, timeoutMs = 5000): Promise<string | undefined> {
  const target = {
    container: { name: "a", image: "b", ports: [{ name: "web", containerPort: port }] },
    containerId: "c",
    sandboxId: "s",
    address: "127.0.0.1",
  };
  const means = {
    exec: async () => ({ exitCode: 2, output: "bad day\n" }),
    connect: (_sandboxId: string | undefined, address: string, to: number, ms: number) =>
      connectTcp(undefined, address, to, ms),
  };
  return failureOf(means, action, target, timeoutMs);
}

test("an HTTP probe asks as the manifest says, with the port by its name", async () => {
  const requests: string[] = [];
  const port = await listening(answering(requests, () => "HTTP/1.1 204 No Content\r\n\r\n"));
  const httpHeaders = [
    { name: "X-Probe", value: "yes" },
    { name: "host", value: "example.com" },
  ];
  expect(
    await outcome({ httpGet: { port: "web", path: "healthz?full=1", httpHeaders } }, port),
  ).toBeUndefined();
  const lines = requests[0]!.split("\r\n");
  expect(lines[0]).toBe("GET /healthz?full=1 HTTP/1.1");
  expect(lines).toContain("X-Probe: yes");
  expect(lines.filter((line) => /^host:/i.test(line))).toEqual(["host: example.com"]);
});

test.each([
  [200, undefined],
  [399, undefined],
  [400, "HTTP status 400 of /"],
  [503, "HTTP status 503 of /"],
])("HTTP status %d is %p", async (status, expected) => {
  const port = await listening(
    answering([], () => `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ${status} X\r\n\r\n`),
  );
  expect(await outcome({ httpGet: { port } }, port)).toBe(expected as string | undefined);
});

test("redirects are followed on the same host, one to another is success, and a circle is not", async () => {
  const to = (location: string) => `HTTP/1.1 302 Found\r\nLocation: ${location}\r\n\r\n`;
  const answers: Record<string, string> = {
    "/": to("/down"),
    "/down": "HTTP/1.1 500 X\r\n\r\n",
    "/away": to("http://elsewhere.example/"),
    "/circle": to("/circle"),
  };
  const port = await listening(answering([], (request) => answers[request.split(" ")[1]!]!));
  expect(await outcome({ httpGet: { port } }, port)).toBe("HTTP status 500 of /down");
  expect(await outcome({ httpGet: { port, path: "/away" } }, port)).toBeUndefined();
  expect(await outcome({ httpGet: { port, path: "/circle" } }, port)).toBe("stopped after 10 redirects");
});

test("a server that says nothing, too much or something else fails, in time", async () => {
  const silent = await listening(createServer(() => {}));
  expect(await outcome({ httpGet: { port: silent } }, silent, 200)).toContain("did not finish within 200 ms");
  const long = await listening(answering([], () => `HTTP/1.1 200 OK\r\nX: ${"x".repeat(40_000)}`));
  expect(await outcome({ httpGet: { port: long } }, long)).toContain("too long");
  const other = await listening(answering([], () => "SSH-2.0-x\r\n\r\n"));
  expect(await outcome({ httpGet: { port: other } }, other)).toContain("no HTTP/1");
});

test("a TCP probe succeeds where somebody listens", async () => {
  const server = createServer((socket) => socket.on("error", () => {}));
  const port = await listening(server);
  expect(await outcome({ tcpSocket: { port } }, port)).toBeUndefined();
  server.close();
  expect(await outcome({ tcpSocket: { port } }, port)).toContain("ECONNREFUSED");
});

test("a gRPC probe asks the health service", async () => {
  const handler = connectNodeAdapter({
    routes: (router) =>
      router.service(Health, {
        check: ({ service }) => ({
          status: HealthCheckResponse_ServingStatus[service === "" ? "SERVING" : "NOT_SERVING"],
        }),
      }),
  });
  const port = await listening(createHttp2Server(handler));
  expect(await outcome({ grpc: { port } }, port)).toBeUndefined();
  expect(await outcome({ grpc: { port, service: "db" } }, port)).toContain("answers status 2");
});

test("an exec probe fails with the command's exit code and words", async () => {
  expect(await outcome({ exec: { command: ["check"] } }, 1)).toBe("check ended with exit code 2: bad day");
});

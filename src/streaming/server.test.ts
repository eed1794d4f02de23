// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { connectSpdy, readAnswer } from "../../test/fixtures/spdy-client.ts";
import {
  exchangeText,
  type FakeStreaming,
  startFakeStreaming,
} from "../../test/fixtures/streaming-server.ts";
import type { StreamingRequest } from "./requests.ts";
import { startStreamingServer } from "./server.ts";

const EXEC: StreamingRequest = {
  kind: "exec",
  containerId: "c",
  command: ["true"],
  tty: false,
  stdin: false,
  stdout: true,
  stderr: true,
};
const PORTS: StreamingRequest = { kind: "portforward", sandboxId: "s", ports: [] };

let streaming: FakeStreaming;

beforeAll(async () => {
  streaming = await startFakeStreaming({ requestTimeoutMs: 300 });
});

afterAll(() => streaming[Symbol.asyncDispose]());

/** The answer to a request for a new URL of `target`, or for `path`. */
function ask(
  lines: readonly string[],
  options: { target?: StreamingRequest; path?: string; body?: string } = {},
) {
  const url = streaming.server.urlFor(options.target ?? EXEC);
  const [first, ...headers] = lines;
  const path = options.path ?? new URL(url).pathname;
  const text = [`${first} ${path} HTTP/1.1`, "Host: x", ...headers, "", options.body ?? ""].join("\r\n");
  return exchangeText(url, text);
}

const SPDY = ["Connection: Upgrade", "Upgrade: SPDY/3.1"];
const WEBSOCKET = [
  "Connection: keep-alive, Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];
const V4 = "X-Stream-Protocol-Version: v4.channel.k8s.io";

describe("a URL", () => {
  test("has the address that the server listens on, the kind and a token, and nothing of the request", () => {
    expect(streaming.server.urlFor(EXEC)).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]{43}$/);
    expect(streaming.server.urlFor(PORTS)).toMatch(/\/portforward\/[\w-]{43}$/);
  });

  test("may be called once, with GET as with POST", async () => {
    for (const method of ["GET", "POST"]) {
      const url = streaming.server.urlFor(EXEC);
      const { pathname } = new URL(url);
      const head = [`${method} ${pathname} HTTP/1.1`, "Host: x", ...SPDY].join("\r\n");
      expect(await exchangeText(url, `${head}\r\n\r\n`)).toStartWith("HTTP/1.1 400 ");
      expect(await exchangeText(url, `${head}\r\n${V4}\r\n\r\n`)).toStartWith("HTTP/1.1 404 ");
    }
  });

  test("that was never given out is not found, nor is one with another kind", async () => {
    const token = new URL(streaming.server.urlFor(EXEC)).pathname.split("/")[2]!;
    const paths = ["/", "/exec", "/exec/", "/exec/x", "/x/y/z", `/attach/${token}`, `/exec/${token}/x`];
    for (const path of paths) {
      expect(await ask(["POST", ...SPDY, V4], { path })).toStartWith("HTTP/1.1 404 ");
      expect(await ask(["GET"], { path })).toStartWith("HTTP/1.1 404 ");
    }
  });
});

describe("a request is refused", () => {
  test("that asks for no upgrade, or for another one", async () => {
    expect(await ask(["GET"])).toStartWith("HTTP/1.1 400 ");
    expect(await ask(["POST", "Connection: Upgrade", "Upgrade: h2c"])).toStartWith("HTTP/1.1 400 ");
    expect(await ask(["POST", "Upgrade: SPDY/3.1", V4])).toStartWith("HTTP/1.1 400 ");
  });

  test("without a stream protocol, or with none that is served", async () => {
    const missing = await ask(["POST", ...SPDY]);
    expect(missing).toStartWith("HTTP/1.1 400 ");
    expect(missing).toContain("X-Stream-Protocol-Version is required");
    const unknown = await ask(["POST", ...SPDY, "X-Stream-Protocol-Version: v9.channel.k8s.io, x"]);
    expect(unknown).toStartWith("HTTP/1.1 403 ");
    const accepted = [...unknown.matchAll(/^X-Accepted-Stream-Protocol-Versions: (.*)\r$/gm)].map(
      ([, name]) => name,
    );
    expect(accepted).toEqual([
      "v4.channel.k8s.io",
      "v3.channel.k8s.io",
      "v2.channel.k8s.io",
      "channel.k8s.io",
    ]);
    const ports = await ask(["POST", ...SPDY, V4], { target: PORTS });
    expect(ports).toStartWith("HTTP/1.1 403 ");
    expect(ports).toContain("X-Accepted-Stream-Protocol-Versions: portforward.k8s.io\r\n");
  });

  test("for a WebSocket with no protocol in common, or that is not in order", async () => {
    const unknown = await ask(["GET", ...WEBSOCKET, "Sec-WebSocket-Protocol: v9.channel.k8s.io"]);
    expect(unknown).toStartWith("HTTP/1.1 403 ");
    expect(unknown).toContain("v5.channel.k8s.io");
    expect(await ask(["POST", ...WEBSOCKET])).toStartWith("HTTP/1.1 405 ");
    expect(await ask(["GET", ...WEBSOCKET.slice(0, 3)])).toStartWith("HTTP/1.1 400 ");
    const noPorts = await ask(["GET", ...WEBSOCKET, "Sec-WebSocket-Protocol: v4.channel.k8s.io"], {
      target: PORTS,
    });
    expect(noPorts).toStartWith("HTTP/1.1 400 ");
    expect(noPorts).toContain("has to name ports");
  });

  test("with a body, or with more headers than anybody needs", async () => {
    const body = ["POST", ...SPDY, V4, "Content-Length: 5"];
    expect(await ask(body, { body: "hello" })).toStartWith("HTTP/1.1 400 ");
    expect(await ask(["POST", ...SPDY, V4, "Transfer-Encoding: chunked"])).toStartWith("HTTP/1.1 400 ");
    expect(await ask(["POST", ...SPDY, V4, `X: ${"x".repeat(20_000)}`])).toStartWith("HTTP/1.1 400 ");
    expect(await ask(["BREW", ...SPDY, V4])).toStartWith("HTTP/1.1 400 ");
  });

  test("that does not come to an end, and so is a client that does not leave", async () => {
    const url = streaming.server.urlFor(EXEC);
    expect(await exchangeText(url, "GET /exec/x HTTP/1.1\r\nHost: ")).toBe("");
    expect(await exchangeText(url, "")).toBe("");
  });
});

describe("of the protocols that a client offers", () => {
  test("the first that is served is taken, from one header or several", async () => {
    const offers: readonly (readonly [string[], string])[] = [
      [["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"], "v4.channel.k8s.io"],
      [["v5.channel.k8s.io, v2.channel.k8s.io ,v4.channel.k8s.io"], "v2.channel.k8s.io"],
      [["channel.k8s.io", "v4.channel.k8s.io"], "channel.k8s.io"],
    ];
    for (const [protocols, chosen] of offers) {
      const client = await connectSpdy(streaming.server.urlFor(EXEC), protocols);
      expect(client.protocol).toBe(chosen);
      client.socket.destroy();
    }
  });

  test("the same for WebSockets, where a client need not offer any", async () => {
    const offers = [
      ["Sec-WebSocket-Protocol: v9.channel.k8s.io, v4.channel.k8s.io,v5.channel.k8s.io", "v4.channel.k8s.io"],
      ["Sec-WebSocket-Protocol: v5.channel.k8s.io", "v5.channel.k8s.io"],
      ["X: y", undefined],
    ] as const;
    for (const [header, chosen] of offers) {
      const url = new URL(streaming.server.urlFor(EXEC));
      const socket = connect({ host: url.hostname, port: Number(url.port) });
      socket.write([`GET ${url.pathname} HTTP/1.1`, "Host: x", ...WEBSOCKET, header, "", ""].join("\r\n"));
      const { head } = await readAnswer(socket);
      socket.destroy();
      expect(head).toStartWith("HTTP/1.1 101 ");
      expect(/^Sec-WebSocket-Protocol: (.*)$/m.exec(head)?.[1]?.trim()).toBe(chosen!);
    }
  });
});

test("more connections than are allowed are closed at once, and made room for", async () => {
  await using few = await startFakeStreaming({ maxConnections: 2 });
  const { port } = new URL(few.server.urlFor(EXEC));
  const open = () => connect({ host: "127.0.0.1", port: Number(port) }).on("error", () => {});
  const [first, second] = [open(), open()];
  await Bun.sleep(50);
  const third = open();
  await new Promise((resolve) => third.once("close", resolve));
  first.destroy();
  second.destroy();
  await Bun.sleep(50);
  const client = await connectSpdy(few.server.urlFor(EXEC), ["v4.channel.k8s.io"]);
  client.socket.destroy();
});

test("a port that is taken is said with what to do, and an IPv6 address has its brackets", async () => {
  const backend = {
    exec: () => Promise.reject(),
    attach: () => Promise.reject(),
    connect: () => Promise.reject(),
  };
  const port = Number(new URL(streaming.server.urlFor(EXEC)).port);
  const again = startStreamingServer({ address: "127.0.0.1", port, backend });
  expect(again).rejects.toThrow(/127\.0\.0\.1 port \d+: .*see \[streaming\]/);
  await again.catch(() => {});
  const six = await startStreamingServer({ address: "::1", port: 0, backend });
  expect(six.urlFor(EXEC)).toStartWith("http://[::1]:");
  await six.close();
});

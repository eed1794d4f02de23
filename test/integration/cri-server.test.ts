// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { MAX_MESSAGE_BYTES } from "../../src/cri/message-limit.ts";
import { type CriServer, serveCri } from "../../src/cri/server.ts";
import { RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { sleep } from "../../src/lib/deadline.ts";
import { logger } from "../../src/lib/logger.ts";
import { implementation, waitingCalls } from "../fixtures/cri-service.ts";

const directory = mkdtempSync(join(tmpdir(), "podrt-cri-"));
const socketPath = join(directory, "run", "podrt.sock");
let server: CriServer;

async function serve(path = socketPath): Promise<CriServer> {
  return await serveCri({
    socketPath: path,
    routes: (router) => {
      router.service(RuntimeService, implementation);
    },
  });
}

/** One call with JSON over HTTP/1.1, as `curl --unix-socket` makes it. */
async function post(call: string, body: string, path = socketPath): Promise<[number, unknown]> {
  const response = await fetch(`http://localhost/runtime.v1.RuntimeService/${call}`, {
    unix: path,
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  return [response.status, await response.json()];
}

function transportOptions(path = socketPath) {
  return { baseUrl: "http://localhost", nodeOptions: { path }, readMaxBytes: MAX_MESSAGE_BYTES };
}

function grpcClient(path = socketPath) {
  const { nodeOptions, ...options } = transportOptions(path);
  return createClient(
    RuntimeService,
    createGrpcTransport({
      ...options,
      nodeOptions: { createConnection: () => connect(nodeOptions.path) } as never,
    }),
  );
}

async function codeOf(work: Promise<unknown>): Promise<Code | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return ConnectError.from(error).code;
  }
}

const { level } = logger;

beforeAll(async () => {
  logger.level = "silent";
  server = await serve();
});

afterAll(async () => {
  logger.level = level;
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("the socket", () => {
  test("is for root alone, in a directory for root alone", () => {
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "run")).mode & 0o777).toBe(0o700);
  });

  test("is refused to a second server, which names the first one's pid", async () => {
    await expect(serve()).rejects.toThrow(`is in use by another podrt serve (pid ${process.pid})`);
    expect((await post("Version", "{}"))[0]).toBe(200);
  });

  test("replaces a file that nobody listens on", async () => {
    const path = join(directory, "stale.sock");
    // A killed server leaves its socket file behind.
    const killed = Bun.spawn([
      process.execPath,
      "-e",
      `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    await killed.exited;
    expect(existsSync(path)).toBe(true);
    const second = await serve(path);
    expect((await post("Version", "{}", path))[0]).toBe(200);
    await second.close();
    expect(existsSync(path)).toBe(false);
  });

  test("does not replace a file that is no socket", async () => {
    const path = join(directory, "precious");
    writeFileSync(path, "data");
    await expect(serve(path)).rejects.toThrow("is no socket");
    expect(existsSync(path)).toBe(true);
  });

  test("is refused when its path is longer than the kernel takes", async () => {
    await expect(serve(join(directory, "x".repeat(108)))).rejects.toThrow("longer than 107 bytes");
  });

  test("survives connections that send garbage, nothing, or part of a preface", async () => {
    for (const bytes of ["\0\0\0\0garbage\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX", "PRI", ""]) {
      const socket = connect(socketPath);
      socket.on("error", () => {});
      await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
      socket.write(bytes);
      await sleep(20);
      socket.destroy();
    }
    expect((await post("Version", "{}"))[0]).toBe(200);
  });

  test("takes a request that arrives byte by byte", async () => {
    const body = "{}";
    const request = `POST /runtime.v1.RuntimeService/Version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const socket = connect(socketPath);
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    for (const byte of request) {
      socket.write(byte);
      await sleep(0);
    }
    await closed;
    expect(answer).toStartWith("HTTP/1.1 200");
    expect(answer).toContain('"runtimeName":"podrt"');
  });
});

describe("JSON over HTTP/1.1", () => {
  test("gets an answer", async () => {
    expect(await post("Version", "{}")).toEqual([
      200,
      { version: "0.1.0", runtimeName: "podrt", runtimeVersion: "1.2.3", runtimeApiVersion: "v1" },
    ]);
  });

  test("gets errors with their code and sentence", async () => {
    const [status, body] = await post("PodSandboxStatus", '{"podSandboxId":"abc"}');
    expect(status).toBe(404);
    expect(body).toEqual({ code: "not_found", message: "pod sandbox abc does not exist" });
  });

  test("is refused with a key that the message does not have", async () => {
    const [status, body] = await post("Version", '{"verison":"0.1.0"}');
    expect(status).toBe(400);
    expect(JSON.stringify(body)).toContain("verison");
  });

  test("gets Unimplemented for a call that does not exist", async () => {
    const [status, body] = await post("Vision", "{}");
    expect(status).toBe(404);
    expect(body).toHaveProperty("code", "unimplemented");
  });

  test("is checked before the call sees it", async () => {
    const [status, body] = await post("RunPodSandbox", '{"config":{"metadata":{}}}');
    expect(status).toBe(400);
    expect(body).toEqual({
      code: "invalid_argument",
      message: "config.metadata.name: must not be empty",
    });
  });
});

test("bytes that are no message get an error on every call, and the server goes on", async () => {
  const bodies = [[0xff, 0xff, 0xff], [0x0a, 0x02, 0xff, 0xfe], [0x0a, 0x7f, 0x00], Array(4096).fill(0x0b)];
  for (const { name } of RuntimeService.methods.filter((method) => method.methodKind === "unary")) {
    for (const body of bodies) {
      const response = await fetch(`http://localhost/runtime.v1.RuntimeService/${name}`, {
        unix: socketPath,
        method: "POST",
        headers: { "content-type": "application/proto" },
        body: new Uint8Array(body),
      });
      expect([name, response.ok]).toEqual([name, false]);
      expect(await response.json()).toHaveProperty("message");
    }
  }
  expect((await post("Version", "{}"))[0]).toBe(200);
});

describe("gRPC of connect-node", () => {
  test("streams items, then the error that ended them", async () => {
    const ids: string[] = [];
    const reading = (async () => {
      for await (const reply of grpcClient().streamContainers({})) ids.push(reply.containers[0]!.id);
    })();
    expect(await codeOf(reading)).toBe(Code.NotFound);
    expect(ids).toEqual(["a", "b", "c"]);
  });

  test("gets Internal for a defect, and the server goes on", async () => {
    const client = grpcClient();
    expect(await codeOf(client.execSync({ containerId: "c", cmd: ["defect"] }))).toBe(Code.Internal);
    expect((await client.version({})).runtimeName).toBe("podrt");
  });

  test("gets ResourceExhausted instead of a reply that is too big for any client", async () => {
    expect(await codeOf(grpcClient().execSync({ containerId: "c", cmd: ["too-big"] }))).toBe(
      Code.ResourceExhausted,
    );
  });

  test("stops the work of a call that the client cancels", async () => {
    const controller = new AbortController();
    const call = grpcClient().execSync({ containerId: "c", cmd: ["wait"] }, { signal: controller.signal });
    await waitingCalls(1);
    controller.abort();
    expect(await codeOf(call)).toBe(Code.Canceled);
    await waitingCalls(0);
  });
});

test("gRPC-Web over HTTP/1.1 gets answers and errors", async () => {
  // The transport of connect-node cannot dial a unix socket over HTTP/1.1 under Bun, so a relay does.
  const relay = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => fetch(request.url, { ...requestInit(request), unix: socketPath }),
  });
  try {
    const client = createClient(
      RuntimeService,
      createGrpcWebTransport({ baseUrl: `http://127.0.0.1:${relay.port}`, httpVersion: "1.1" }),
    );
    expect((await client.version({})).runtimeName).toBe("podrt");
    expect(await codeOf(client.podSandboxStatus({ podSandboxId: "x" }))).toBe(Code.NotFound);
  } finally {
    await relay.stop(true);
  }
});

function requestInit(request: Request) {
  return { method: request.method, headers: request.headers, body: request.body };
}

test("the log has a line for each call with its ids and code, and no secret", async () => {
  const path = join(directory, "logging.sock");
  const script = join(directory, "logging.ts");
  const source = join(import.meta.dir, "..", "..", "src");
  writeFileSync(
    script,
    `import { serveCri } from "${source}/cri/server.ts";
     import { UnavailableError } from "${source}/errors.ts";
     import { ImageService } from "${source}/gen/runtime/v1/api_pb.ts";
     const pullImage = ({ auth }) => {
       if (auth.username === "defect") throw new TypeError("a defect");
       throw new UnavailableError("no route");
     };
     await serveCri({ socketPath: "${path}", routes: (router) => { router.service(ImageService, { pullImage }); } });
     console.log("ready");`,
  );
  const child = Bun.spawn([process.execPath, script], {
    cwd: directory,
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, PODRT_LOG: "debug" },
  });
  try {
    await child.stdout.getReader().read();
    for (const username of ["someone", "defect"]) {
      const auth = { username, password: "hunter2", auth: "aHVudGVyMg==", registryToken: "hunter3" };
      const body = JSON.stringify({ image: { image: "docker.io/library/nginx:1" }, auth });
      await fetch("http://localhost/runtime.v1.ImageService/PullImage", {
        unix: path,
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
    }
  } finally {
    child.kill("SIGKILL");
  }
  const log = await child.stderr.text();
  const lines = log
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatchObject({
    rpc: "PullImage",
    code: "Unavailable",
    image: "docker.io/library/nginx:1",
    error: "no route",
  });
  expect(lines[1]).toMatchObject({ rpc: "PullImage", code: "Internal", error: "a defect" });
  expect(lines[1].stack).toContain("logging.ts");
  expect(log).not.toMatch(/hunter|aHVudGVyMg/);
});

describe("closing", () => {
  test("lets a unary call finish, ends streams, and removes the socket", async () => {
    const path = join(directory, "closing.sock");
    const closing = await serve(path);
    const client = grpcClient(path);
    const call = client.execSync({ containerId: "c", cmd: ["wait", "300"] });
    const events = client.getContainerEvents({})[Symbol.asyncIterator]();
    expect((await events.next()).value?.containerId).toBe("first");
    await waitingCalls(1);
    const startedAtMs = performance.now();
    const closed = closing.close();
    expect((await call).exitCode).toBe(7);
    expect(await codeOf(Promise.resolve(events.next()))).toBe(Code.Unavailable);
    await closed;
    expect(performance.now() - startedAtMs).toBeLessThan(3000);
    expect(existsSync(path)).toBe(false);
  });

  test("ends a call that does not finish within the grace", async () => {
    const path = join(directory, "stuck.sock");
    const closing = await serve(path);
    const code = codeOf(grpcClient(path).execSync({ containerId: "c", cmd: ["wait"] }));
    await waitingCalls(1);
    await closing.close();
    expect(await code).toBe(Code.Unavailable);
    await waitingCalls(0);
  }, 10_000);
});

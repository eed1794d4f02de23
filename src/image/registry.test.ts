// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  blobResponse,
  type FakeRegistry,
  fakeImage,
  startBreakingServer,
  startFakeRegistry,
} from "../../test/fixtures/fake-registry.ts";
import type { Config } from "../config.ts";
import { digestOf } from "../oci/digest.ts";
import { parseReference } from "../oci/reference.ts";
import { openSession } from "./registry.ts";
import type { RegistryAuth } from "./registry-auth.ts";
import { hostPlan } from "./registry-hosts.ts";

let registry: FakeRegistry;
const image = fakeImage([crypto.getRandomValues(new Uint8Array(60_000))]);
const layer = image.layers[0] as (typeof image.layers)[0];
const wanted = { digest: layer.digest, size: layer.bytes.length };

beforeEach(() => {
  registry = startFakeRegistry();
  registry.add("app:v1", image);
});
afterEach(() => registry[Symbol.asyncDispose]());

const endpointsOf = (host: string, registries: Config["registries"]) =>
  hostPlan(host, registries, "/nonexistent").endpoints;

function session(
  options: {
    url?: string;
    mirrors?: string[];
    auth?: RegistryAuth;
    stallTimeoutMs?: number;
    host?: string;
  } = {},
) {
  const host = options.host ?? new URL(options.url ?? registry.url).host;
  return openSession({
    reference: parseReference(`${host}/app:v1`),
    endpoints: endpointsOf(host, { [host]: { mirrors: options.mirrors ?? [], plain_http: true } }),
    auth: options.auth,
    stallTimeoutMs: options.stallTimeoutMs ?? 5000,
    backoffMs: 5,
  });
}

async function download(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

const kind = (name: string) => ({ kind: name });

test("manifests come by tag and by digest, blobs by digest", async () => {
  const byTag = await session().manifest("v1");
  expect(byTag).toEqual({ bytes: image.manifest, digest: image.manifestDigest, mediaType: image.mediaType });
  expect(await session().manifest(image.manifestDigest)).toEqual(byTag);
  expect(await session().resolve("v1")).toBe(image.manifestDigest);
  expect(await download(session().blob(wanted))).toEqual(layer.bytes);
});

test("an unknown tag is NotFound with the host, the status and the registry's word", async () => {
  const attempt = session().manifest("v2");
  await expect(attempt).rejects.toThrow(`${registry.host} answered 404 (manifest unknown)`);
  await expect(attempt).rejects.toMatchObject(kind("NotFound"));
});

test("an error page that is not JSON, or full of control characters, makes a plain message", async () => {
  registry.override = () => new Response("<html>", { status: 404 });
  await expect(session().manifest("v1")).rejects.toThrow("answered 404 (not found)");
  registry.override = () =>
    Response.json({ errors: [{ code: "X", message: `a\u001b[31m\n${"b".repeat(9999)}` }] }, { status: 400 });
  await expect(session().manifest("v1")).rejects.toThrow(/answered 400 \(x: a\?\[31m\?b{100,195}\)/);
});

test("a registry that refuses connections is Unavailable at once", async () => {
  const url = registry.url;
  await registry[Symbol.asyncDispose]();
  const attempt = session({ url }).manifest("v1");
  await expect(attempt).rejects.toThrow("refuses connections (ECONNREFUSED)");
  await expect(attempt).rejects.toMatchObject(kind("Unavailable"));
});

test("server errors and too many requests are tried again, as late as the server asks", async () => {
  const statuses = [500, 503, 429];
  const at: number[] = [];
  registry.override = () => {
    at.push(performance.now());
    const status = statuses.shift();
    return (
      (status && new Response("", { status, headers: status === 429 ? { "retry-after": "1" } : {} })) ||
      undefined
    );
  };
  expect((await session().manifest("v1")).digest).toBe(image.manifestDigest);
  expect(at).toHaveLength(4);
  expect((at[3] as number) - (at[2] as number)).toBeGreaterThan(950);
});

test("a registry that never stops failing is given up after five tries", async () => {
  registry.override = () => new Response("", { status: 502 });
  const attempt = session().manifest("v1");
  await expect(attempt).rejects.toThrow("answered 502 (bad gateway)");
  await expect(attempt).rejects.toMatchObject(kind("Unavailable"));
  expect(registry.requests).toHaveLength(5);
});

test("a registry that accepts and says nothing is given up after the stall timeout", async () => {
  registry.override = () => new Promise(() => {});
  const start = performance.now();
  const attempt = session({ stallTimeoutMs: 100 }).manifest("v1");
  await expect(attempt).rejects.toThrow("sent nothing for 0.1 s");
  await expect(attempt).rejects.toMatchObject(kind("Unavailable"));
  expect(performance.now() - start).toBeLessThan(1500);
});

test("a body that trickles is a stall, and the download goes on with a Range request", async () => {
  registry.override = ({ path, headers }) => {
    if (!path.includes("/blobs/") || headers.has("range")) return undefined;
    const body = new ReadableStream({
      async pull(controller) {
        controller.enqueue(layer.bytes.subarray(0, 5000));
        await new Promise(() => {});
      },
    });
    return new Response(body, { headers: { "content-length": String(layer.bytes.length) } });
  };
  expect(await download(session({ stallTimeoutMs: 200 }).blob(wanted))).toEqual(layer.bytes);
  expect(registry.requests.map(({ headers }) => headers.get("range"))).toEqual([null, "bytes=5000-"]);
});

test("a broken connection goes on where it broke", async () => {
  const { bytes } = layer;
  using server = await startBreakingServer((request) => {
    const start = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);
    const end = Math.min(bytes.length, start + 25_000);
    const status = start === 0 ? "200 OK" : "206 Partial Content";
    const range = start === 0 ? "" : `content-range: bytes ${start}-${bytes.length - 1}/${bytes.length}\r\n`;
    return {
      head: `HTTP/1.1 ${status}\r\n${range}content-length: ${bytes.length - start}\r\n\r\n`,
      body: bytes.subarray(start, end),
      isBroken: true,
    };
  });
  expect(await download(session({ url: server.url }).blob(wanted))).toEqual(bytes);
  expect(server.requests.length).toBeGreaterThanOrEqual(3);
});

test("a server that ignores Range is read from the start, without a byte twice", async () => {
  const { bytes } = layer;
  using server = await startBreakingServer((_, connection) => ({
    head: `HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\nconnection: close\r\n\r\n`,
    body: connection === 1 ? bytes.subarray(0, 20_000) : bytes,
    isBroken: connection === 1,
  }));
  expect(await download(session({ url: server.url }).blob(wanted))).toEqual(bytes);
});

test("a connection that breaks for ever is given up after five tries", async () => {
  using server = await startBreakingServer(() => ({
    head: `HTTP/1.1 200 OK\r\ncontent-length: ${wanted.size}\r\n\r\n`,
    body: new Uint8Array(10),
    isBroken: true,
  }));
  const attempt = download(session({ url: server.url }).blob(wanted));
  await expect(attempt).rejects.toThrow("broke the connection");
  await expect(attempt).rejects.toMatchObject(kind("Unavailable"));
  expect(server.requests).toHaveLength(5);
});

test.each([
  ["truncated", (bytes: Uint8Array) => bytes.subarray(0, 100), "sends a truncated blob, 100 bytes"],
  ["overlong", (bytes: Uint8Array) => new Uint8Array([...bytes, 1]), "sends an overlong blob"],
])("a blob whose announced length is %s is refused before it is downloaded", async (_, change, problem) => {
  registry.blobs.set(wanted.digest, change(layer.bytes));
  const attempt = download(session().blob(wanted));
  await expect(attempt).rejects.toThrow(problem);
  await expect(attempt).rejects.toMatchObject(kind("FailedPrecondition"));
});

test("a chunked blob that ends early is refused", async () => {
  registry.override = () =>
    new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(layer.bytes.subarray(0, 100));
          await Bun.sleep(50);
          controller.close();
        },
      }),
    );
  await expect(download(session().blob(wanted))).rejects.toThrow("sent a truncated blob, 100 bytes");
});

test("a server that sends another range than asked for is asked for all of it", async () => {
  registry.override = ({ path, headers }) => {
    if (!path.includes("/blobs/")) return undefined;
    if (!headers.has("range")) {
      const body = new ReadableStream({
        async pull(controller) {
          controller.enqueue(layer.bytes.subarray(0, 5000));
          await new Promise(() => {});
        },
      });
      return new Response(body, { headers: { "content-length": String(wanted.size) } });
    }
    return blobResponse(layer.bytes, "bytes=10-");
  };
  const asked = () => registry.requests.map(({ headers }) => headers.get("range"));
  await expect(download(session({ stallTimeoutMs: 150 }).blob(wanted))).rejects.toThrow("sent nothing");
  expect(asked().slice(0, 3)).toEqual([null, "bytes=5000-", null]);
  expect(asked().filter((range) => range !== null)).toHaveLength(1);
});

test("a server that wants to be left alone for long is not asked again", async () => {
  for (const header of ["3600", "9".repeat(40), "Fri, 31 Dec 9999 23:59:59 GMT"]) {
    registry.requests.length = 0;
    registry.override = () => new Response("", { status: 503, headers: { "retry-after": header } });
    await expect(session().manifest("v1")).rejects.toThrow(
      /wants to be left alone for (3600 s|more than a day)$/,
    );
    expect(registry.requests).toHaveLength(1);
  }
});

test("a date to come back at is one of the server's clock", async () => {
  let isFirst = true;
  registry.override = () => {
    if (!isFirst) return undefined;
    isFirst = false;
    const headers = {
      date: "Thu, 01 Jan 1970 00:00:10 GMT",
      "retry-after": "Thu, 01 Jan 1970 00:00:10 GMT",
    };
    return new Response("", { status: 503, headers });
  };
  expect((await session().manifest("v1")).digest).toBe(image.manifestDigest);
});

test("manifests with the wrong digest, or of more than 4 MiB, are refused", async () => {
  registry.override = () =>
    new Response("{}", { headers: { "docker-content-digest": image.manifestDigest } });
  await expect(session().manifest("v1")).rejects.toThrow(`wrong digest ${digestOf("{}")}`);
  await expect(session().manifest(image.manifestDigest)).rejects.toMatchObject(kind("FailedPrecondition"));
  registry.override = () => new Response(new Uint8Array(5 << 20));
  await expect(session().manifest("v1")).rejects.toThrow("more than 4194304 bytes");
});

test("a layer served with Content-Encoding is taken as it is on the wire", async () => {
  registry.override = () => new Response(layer.bytes, { headers: { "content-encoding": "gzip" } });
  expect(await download(session().blob(wanted))).toEqual(layer.bytes);
});

test("mirrors are asked first and in order, and told which registry is meant", async () => {
  await using empty = startFakeRegistry();
  await using mirror = startFakeRegistry();
  mirror.add("app:v1", image);
  const pull = session({ mirrors: [empty.url, mirror.url], host: "registry.example" });
  expect((await pull.manifest("v1")).digest).toBe(image.manifestDigest);
  expect(await download(pull.blob(wanted))).toEqual(layer.bytes);
  expect(empty.requests).toHaveLength(1);
  expect(mirror.requests.map(({ query }) => query)).toEqual(["?ns=registry.example", "?ns=registry.example"]);
});

test("the registry itself is asked when the mirrors have nothing", async () => {
  await using mirror = startFakeRegistry();
  expect((await session({ mirrors: ["http://127.0.0.1:1", mirror.url] }).manifest("v1")).bytes).toEqual(
    image.manifest,
  );
});

test("when nobody has the image each is named, and the registry's own answer decides the kind", async () => {
  await using mirror = startFakeRegistry();
  mirror.override = () => new Response("", { status: 403 });
  const attempt = session({ mirrors: [mirror.url] }).manifest("nope");
  await expect(attempt).rejects.toThrow(
    `${mirror.host} answered 403 (forbidden); ${registry.host} answered 404`,
  );
  await expect(attempt).rejects.toMatchObject(kind("NotFound"));
});

test("a download goes on at the registry when its mirror dies in the middle", async () => {
  using mirror = await startBreakingServer((request) =>
    request.includes("/manifests/")
      ? {
          head: `HTTP/1.1 200 OK\r\ncontent-type: ${image.mediaType}\r\ncontent-length: ${image.manifest.length}\r\nconnection: close\r\n\r\n`,
          body: image.manifest,
          isBroken: false,
        }
      : {
          head: request.includes("bytes=")
            ? "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
            : `HTTP/1.1 200 OK\r\ncontent-length: ${wanted.size}\r\n\r\n`,
          body: request.includes("bytes=") ? new Uint8Array(0) : layer.bytes.subarray(0, 7000),
          isBroken: true,
        },
  );
  const pull = session({ mirrors: [mirror.url] });
  await pull.manifest("v1");
  expect(await download(pull.blob(wanted))).toEqual(layer.bytes);
  expect(registry.requests.map(({ headers }) => headers.get("range"))).toEqual(["bytes=7000-"]);
});

test("an abort ends a download at once with the caller's reason", async () => {
  registry.override = () => new Promise(() => {});
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("caller left")), 50);
  const start = performance.now();
  await expect(download(session().blob(wanted, controller.signal))).rejects.toThrow("caller left");
  expect(performance.now() - start).toBeLessThan(1000);
});

test("a registry on loopback without configuration answers over plain http", async () => {
  const endpoints = endpointsOf(registry.host, {});
  const plain = openSession({
    reference: parseReference(`${registry.host}/app:v1`),
    endpoints,
    stallTimeoutMs: 5000,
  });
  expect((await plain.manifest("v1")).digest).toBe(image.manifestDigest);
  expect(await download(plain.blob(wanted))).toEqual(layer.bytes);
});

test.each<[string, string, string]>([
  [
    "too many requests",
    '{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}',
    "429 (toomanyrequests: You have reached your pull rate limit.)",
  ],
  [
    "an unknown manifest",
    '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
    "(manifest unknown)",
  ],
  ["a code alone", '{"errors":[{"code":"NAME_UNKNOWN"}]}', "(name unknown)"],
  ["a message outside of errors", '{"message":"rate exceeded"}', "(rate exceeded)"],
  ["an error that is a word", '{"error":"slow down"}', "(slow down)"],
  ["errors that are none", '{"errors":[]}', "429 (too many requests)"],
  ["another document", "[1]", "429 (too many requests)"],
  ["lines", '{"message":"a\\u2028b\\nc\\u202ed"}', "(a?b?c?d)"],
])("a body that tells of %s is shown in one line", async (_, body, shown) => {
  registry.override = () => new Response(body, { status: 429 });
  await expect(session().manifest("v1")).rejects.toThrow(shown);
});

test("a mirror that may only be pulled from is asked for no tag, and for everything else first", async () => {
  await using mirror = startFakeRegistry();
  mirror.add("app:v1", image);
  const endpoints = endpointsOf(registry.host, {
    [registry.host]: { mirrors: [mirror.url], plain_http: true },
  });
  const [first, second] = endpoints;
  const pull = openSession({
    reference: parseReference(`${registry.host}/app:v1`),
    endpoints: [{ ...first!, canResolve: false }, second!],
    stallTimeoutMs: 5000,
  });
  expect((await pull.manifest("v1")).digest).toBe(image.manifestDigest);
  expect(mirror.requests).toEqual([]);
  expect(await download(pull.blob(wanted))).toEqual(layer.bytes);
  expect(registry.requests).toHaveLength(1);
  expect(mirror.requests).toHaveLength(1);
});

test("a server that may only resolve tells the digest, and others the content", async () => {
  await using mirror = startFakeRegistry();
  mirror.add("app:v1", image);
  const endpoints = endpointsOf(registry.host, {
    [registry.host]: { mirrors: [mirror.url], plain_http: true },
  });
  const [first, second] = endpoints;
  const pull = openSession({
    reference: parseReference(`${registry.host}/app:v1`),
    endpoints: [
      { ...first!, canResolve: false },
      { ...second!, canPull: false },
    ],
    stallTimeoutMs: 5000,
  });
  expect((await pull.manifest("v1")).digest).toBe(image.manifestDigest);
  expect(await download(pull.blob(wanted))).toEqual(layer.bytes);
  expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD"]);
  expect(pull.hosts()).toEqual([mirror.host]);
});

test("where nobody may resolve, a tag is refused by that name", async () => {
  const endpoints = endpointsOf(registry.host, {}).map((endpoint) => ({ ...endpoint, canResolve: false }));
  const reference = parseReference(`${registry.host}/app:v1`);
  const attempt = openSession({ reference, endpoints, stallTimeoutMs: 5000 }).manifest("v1");
  await expect(attempt).rejects.toThrow("capabilities");
  expect(registry.requests).toEqual([]);
});

// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addHostileImage } from "../fixtures/hostile-image.ts";
import { type HostileRegistry, startHostileRegistry } from "../fixtures/hostile-registry.ts";
import { type Daemon, startDaemon } from "./harness/daemon.ts";

/*
 * Credentials go to the registry that they are for and to the token service that it names, and nowhere else
 * (CVE-2020-15157): not after a redirect, not to a mirror, not to the addresses that a layer brings along.
 */

const password = "pa55word-that-stays-here";
const auth = { username: "reader", password };
const basic = `Basic ${Buffer.from(`reader:${password}`).toString("base64")}`;
let daemon: Daemon;
let registry: HostileRegistry;
let thief: HostileRegistry;
let answer: (request: Request, path: string) => Response | undefined;

beforeAll(async () => {
  thief = startHostileRegistry();
  registry = startHostileRegistry((request, path) => answer(request, path));
  daemon = await startDaemon({
    config: `[registries."docker.io"]\nmirrors = ["http://${thief.host}"]\n`,
  });
  const foreign = { urls: [`http://${thief.host}/foreign`] };
  const manifest = await addHostileImage(registry.files, {});
  const path = `blobs/${manifest.digest.replace(":", "/")}`;
  const document = JSON.parse(Buffer.from(registry.files.get(path)!).toString()) as { layers: object[] };
  const bytes = Buffer.from(
    JSON.stringify({ ...document, layers: document.layers.map((layer) => ({ ...layer, ...foreign })) }),
  );
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  registry.files.set(`blobs/${digest.replace(":", "/")}`, bytes);
  registry.tags.set("app:1", { ...manifest, digest, size: bytes.length });
  for (const [name, content] of registry.files) thief.files.set(name, content);
  for (const [name, descriptor] of registry.tags) thief.tags.set(name, descriptor);
}, 60_000);

afterAll(async () => {
  try {
    await daemon.close();
  } finally {
    registry[Symbol.dispose]();
    thief[Symbol.dispose]();
  }
});

/** Basic authentication, as the registry wants it before it does anything else. */
const wanting =
  (then: typeof answer): typeof answer =>
  (request, path) =>
    request.headers.get("authorization") === basic
      ? then(request, path)
      : new Response("", { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } });

const image = () => `${registry.host}/app:1`;

async function pull(name = image(), credentials: object = auth): Promise<string> {
  registry.heard.length = 0;
  thief.heard.length = 0;
  await daemon.api.removeImage({ image: { image: name } });
  return daemon.api.pullImage({ image: { image: name }, auth: credentials } as never).then(
    () => "pulled",
    (error: Error) => error.message,
  );
}

const redirect = (to: string) => new Response("", { status: 307, headers: { location: to } });
const stolen = () => thief.heard.filter(({ authorization }) => authorization !== null);

test("a redirect of blobs or manifests to another origin takes no credentials along", async () => {
  for (const kind of ["blobs", "manifests"]) {
    answer = wanting((_, path) =>
      path.includes(kind) ? redirect(`http://${thief.host}${path}`) : undefined,
    );
    expect(await pull()).toBe("pulled");
    expect(thief.heard.length).toBeGreaterThan(0);
    expect(stolen()).toEqual([]);
  }
});

test("addresses that a layer brings along are not asked", async () => {
  answer = wanting(() => undefined);
  expect(await pull()).toBe("pulled");
  expect(thief.heard).toEqual([]);
  answer = wanting((_, path) => (path.includes("blobs") ? new Response("", { status: 404 }) : undefined));
  expect(await pull()).not.toBe("pulled");
  expect(thief.heard).toEqual([]);
});

test("a mirror gets no credentials, though it asks for them", async () => {
  const withCredentials = await pull("docker.io/library/app:1");
  expect(withCredentials).not.toContain(password);
  expect(thief.heard.length).toBeGreaterThan(0);
  expect(stolen()).toEqual([]);
});

test("credentials for another registry are not sent", async () => {
  answer = wanting(() => undefined);
  const said = await pull(image(), { ...auth, serverAddress: "https://registry.example" });
  expect(said).toContain("asks for credentials, and none were given for it");
  expect(registry.heard.filter(({ authorization }) => authorization !== null)).toEqual([]);
});

test.each<[string, () => Response]>([
  [
    "a 401 to everything",
    () => new Response("", { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } }),
  ],
  [
    "a token service that gives useless tokens",
    () =>
      new Response("", {
        status: 401,
        headers: { "www-authenticate": `Bearer realm="http://${registry.host}/token"` },
      }),
  ],
  [
    "a token service that is no address",
    () =>
      new Response("", { status: 401, headers: { "www-authenticate": 'Bearer realm="file:///etc/shadow"' } }),
  ],
  [
    "a token service with a user in its address",
    () =>
      new Response("", {
        status: 401,
        headers: { "www-authenticate": `Bearer realm="http://a:b@${thief.host}/"` },
      }),
  ],
  ["a redirect round and round", () => redirect(`http://${registry.host}/v2/app/manifests/1`)],
  ["a redirect to a file", () => redirect("file:///etc/shadow")],
  ["a redirect to an address with a user", () => redirect(`http://reader:x@${thief.host}/`)],
  [
    "a challenge of a megabyte",
    () => new Response("", { status: 401, headers: { "www-authenticate": `Bearer ${"a=b,".repeat(3000)}` } }),
  ],
])("%s ends soon, in one sentence, with nothing given away", async (_, respond) => {
  answer = (_request, path) => (path === "/token" ? Response.json({ token: "useless" }) : respond());
  const said = await pull();
  expect(said).toStartWith("[");
  expect(said).not.toBe("pulled");
  expect(said).not.toContain(password);
  expect(said).not.toContain(basic);
  expect(said.split("\n")).toHaveLength(1);
  expect(registry.heard.length).toBeLessThan(40);
  expect(stolen()).toEqual([]);
});

test("no log line and no file of the daemon's has them", () => {
  const secrets = [password, Buffer.from(`reader:${password}`).toString("base64")];
  const files = readdirSync(daemon.root, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const found = files.filter(({ parentPath, name }) => {
    const path = join(parentPath, name);
    return !path.includes("/layers/") && secrets.some((secret) => readFileSync(path).includes(secret));
  });
  expect(found.map(({ name }) => name)).toEqual([]);
  expect(daemon.log()).toContain("PullImage");
});

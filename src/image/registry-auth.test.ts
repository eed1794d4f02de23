// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  type FakeRegistry,
  type FakeRequest,
  fakeImage,
  startFakeRegistry,
} from "../../test/fixtures/fake-registry.ts";
import { messageOf } from "../errors.ts";
import { parseReference } from "../oci/reference.ts";
import { openSession } from "./registry.ts";
import { createAuthorizer, credentialsFor, fingerprintOf, type RegistryAuth } from "./registry-auth.ts";
import { hostPlan } from "./registry-hosts.ts";

const image = fakeImage(["layer"]);
const layer = image.layers[0] as (typeof image.layers)[0];
const SECRET = "s3cr3t-Zq";
const ALICE = { username: "alice", password: SECRET };
const BASIC = `Basic ${btoa(`alice:${SECRET}`)}`;

let registry: FakeRegistry;
let tokens: FakeRegistry;
beforeEach(() => {
  registry = startFakeRegistry();
  registry.add("team/app:v1", image);
  tokens = startFakeRegistry();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await tokens[Symbol.asyncDispose]();
});

function session(auth?: RegistryAuth, mirrors: string[] = [], host = registry.host) {
  return openSession({
    reference: parseReference(`${host}/team/app:v1`),
    endpoints: hostPlan(host, { [host]: { mirrors, plain_http: true } }, "/nonexistent").endpoints,
    auth,
    stallTimeoutMs: 5000,
    backoffMs: 5,
  });
}

const bytesOf = async (source: AsyncIterable<Uint8Array>) => {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts).length;
};
const authorizations = (of: FakeRegistry) => of.requests.map(({ headers }) => headers.get("authorization"));
const unauthorized = (challenge: string) =>
  new Response("", { status: 401, headers: { "www-authenticate": challenge } });
const askForToken = (good: string) => (request: FakeRequest) =>
  request.headers.get("authorization") === `Bearer ${good}`
    ? undefined
    : unauthorized(`Bearer realm="${tokens.url}/token",service="reg",scope="repository:team/app:pull"`);

test("an anonymous token is fetched once and used for all that follows", async () => {
  registry.override = askForToken("t1");
  tokens.override = () => Response.json({ token: "t1" });
  const pull = session();
  await pull.manifest("v1");
  await bytesOf(pull.blob({ digest: layer.digest, size: layer.bytes.length }));
  expect(tokens.requests).toHaveLength(1);
  expect(tokens.requests[0]?.query).toBe("?service=reg&scope=repository%3Ateam%2Fapp%3Apull");
  expect(authorizations(tokens)).toEqual([null]);
  expect(authorizations(registry)).toEqual([null, "Bearer t1", "Bearer t1"]);
});

test.each([
  ["username and password", ALICE],
  ["auth", { auth: btoa(`alice:${SECRET}`) }],
  ["auth with the NUL padding of old clients", { auth: btoa(`alice:${SECRET}\0\0`) }],
])("%s go to the token service as basic credentials, not to the registry", async (_, auth) => {
  registry.override = askForToken("t2");
  tokens.override = () => Response.json({ access_token: "t2" });
  await session(auth).manifest("v1");
  expect(authorizations(tokens)).toEqual([BASIC]);
  expect(authorizations(registry)).toEqual([null, "Bearer t2"]);
});

test("an identity token is exchanged by POST", async () => {
  registry.override = askForToken("t3");
  let posted = "";
  await using service = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      posted = `${request.method} ${await request.text()}`;
      return Response.json({ access_token: "t3" });
    },
  });
  registry.override = ({ headers }) =>
    headers.get("authorization") === "Bearer t3"
      ? undefined
      : unauthorized(`Bearer realm="http://127.0.0.1:${service.port}/t",service="reg"`);
  await session({ username: "00000000-0000-0000-0000-000000000000", identityToken: SECRET }).manifest("v1");
  expect(posted).toBe(
    `POST service=reg&scope=repository%3Ateam%2Fapp%3Apull&grant_type=refresh_token&client_id=podrt&refresh_token=${SECRET}`,
  );
});

test("a registry token is sent as it is", async () => {
  registry.override = askForToken("given");
  await session({ registryToken: "given" }).manifest("v1");
  expect(authorizations(registry)).toEqual(["Bearer given"]);
});

test("basic credentials are sent only after they were asked for", async () => {
  registry.override = ({ headers }) =>
    headers.get("authorization") === BASIC ? undefined : unauthorized('Basic realm="r"');
  await session(ALICE).manifest("v1");
  expect(authorizations(registry)).toEqual([null, BASIC]);
});

test("an expired token is renewed once in the middle of a pull", async () => {
  let valid = "t1";
  registry.override = (request) => askForToken(valid)(request);
  tokens.override = () => Response.json({ token: valid });
  const pull = session();
  await pull.manifest("v1");
  valid = "t2";
  expect(await bytesOf(pull.blob({ digest: layer.digest, size: layer.bytes.length }))).toBe(
    layer.bytes.length,
  );
  expect(tokens.requests).toHaveLength(2);
});

test.each([
  ["the same token", () => Response.json({ token: "same" })],
  ["a new token each time", () => Response.json({ token: crypto.randomUUID() })],
])("a registry that answers 401 to %s is left after a few requests", async (_, answer) => {
  registry.override = () => unauthorized(`Bearer realm="${tokens.url}/token"`);
  tokens.override = answer;
  const attempt = session(ALICE).manifest("v1");
  await expect(attempt).rejects.toMatchObject({ kind: "PermissionDenied" });
  await expect(attempt).rejects.toThrow(`${registry.host} answered 401`);
  expect(registry.requests.length).toBeLessThanOrEqual(3);
});

test.each([
  ["wrong credentials", ALICE, () => new Response("", { status: 401 }), "does not accept the credentials"],
  [
    "no credentials",
    undefined,
    () => new Response("", { status: 403 }),
    "asks for credentials, and none were given",
  ],
  ["a reply that is no token", undefined, () => new Response("<html>"), "sent no token"],
  ["a token with a line break", undefined, () => Response.json({ token: "a\r\nx: y" }), "sent no token"],
  ["a failing service", undefined, () => new Response("", { status: 500 }), "answered 500"],
])("a token service that meets %s makes one sentence", async (_, auth, answer, problem) => {
  registry.override = askForToken("x");
  tokens.override = answer;
  await expect(session(auth).manifest("v1")).rejects.toThrow(problem);
});

test("a challenge of another scheme is refused, with and without credentials", async () => {
  registry.override = () => unauthorized("Negotiate");
  await expect(session().manifest("v1")).rejects.toThrow("none were given");
  await expect(session(ALICE).manifest("v1")).rejects.toThrow("does not accept");
  registry.override = () => new Response("", { status: 401 });
  await expect(session(ALICE).manifest("v1")).rejects.toMatchObject({ kind: "PermissionDenied" });
});

test("credentials and tokens stay behind when a blob is redirected to another origin", async () => {
  await using storage = startFakeRegistry();
  storage.override = () => new Response(layer.bytes);
  registry.override = (request) =>
    askForToken("t1")(request) ??
    (request.path.includes("/blobs/") ? Response.redirect(`${storage.url}/signed?x=1`, 307) : undefined);
  tokens.override = () => Response.json({ token: "t1" });
  const pull = session(ALICE);
  await pull.manifest("v1");
  await bytesOf(pull.blob({ digest: layer.digest, size: layer.bytes.length }));
  expect(storage.requests).toHaveLength(1);
  expect(authorizations(storage)).toEqual([null]);
});

test("the origin a request was redirected to cannot ask for credentials", async () => {
  await using storage = startFakeRegistry();
  await using thief = startFakeRegistry();
  storage.override = () => unauthorized(`Bearer realm="${thief.url}/token"`);
  registry.override = () => Response.redirect(`${storage.url}/x`, 307);
  await expect(session(ALICE).manifest("v1")).rejects.toThrow("answered 401");
  storage.override = () => unauthorized("Basic");
  await expect(session(ALICE).manifest("v1")).rejects.toThrow(`to which ${registry.host} redirects`);
  expect(thief.requests).toEqual([]);
  expect(authorizations(storage)).toEqual([null, null]);
});

test("a token service that redirects never moves credentials to another origin", async () => {
  await using thief = startFakeRegistry();
  thief.override = () => Response.json({ token: "t" });
  registry.override = askForToken("t");
  tokens.override = () => Response.redirect(thief.url, 307);
  await session(ALICE).manifest("v1");
  expect(authorizations(thief)).toEqual([null]);
  await expect(session({ identityToken: SECRET }).manifest("v1")).rejects.toThrow(
    "redirects a request that carries",
  );
  expect(thief.requests).toHaveLength(1);
});

test("mirrors never see credentials", async () => {
  await using mirror = startFakeRegistry();
  mirror.override = () => unauthorized("Basic");
  registry.override = ({ headers }) =>
    headers.get("authorization") === BASIC ? undefined : unauthorized("Basic");
  await session(ALICE, [mirror.url]).manifest("v1");
  await session({ registryToken: SECRET }, [mirror.url])
    .manifest("v1")
    .catch(() => {});
  expect(authorizations(mirror)).toEqual([null, null]);
});

test.each([
  ["another registry", "other.example", null],
  ["this one", "HOST", BASIC],
  ["this one as a URL", "http://HOST/v1/", BASIC],
])("credentials for %s", async (_, address, expected) => {
  registry.override = ({ headers }) => (headers.get("authorization") ? undefined : unauthorized("Basic"));
  await session({ ...ALICE, serverAddress: address.replace("HOST", registry.host) })
    .manifest("v1")
    .catch(() => {});
  expect(authorizations(registry).at(-1)).toBe(expected);
});

test.each(["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])(
  "%s is Docker Hub to credentials",
  (serverAddress) => {
    expect(credentialsFor({ ...ALICE, serverAddress }, "docker.io").kind).toBe("password");
    expect(credentialsFor({ ...ALICE, serverAddress }, "quay.io").kind).toBe("anonymous");
  },
);

test.each([
  ["plain http", 'Bearer realm="http://tokens.example/t"', "not https"],
  ["no realm", "Bearer", "names no address"],
  ["a realm with credentials of its own", 'Bearer realm="https://a:b@tokens.example/t"', "names no address"],
  ["a file", 'Bearer realm="file:///etc/shadow"', "not https"],
])("a registry spoken to over https cannot send for its token to %s", async (_, challenge, problem) => {
  const endpoint = hostPlan("registry.example", {}, "/nonexistent").endpoints[0]!;
  const authorizer = createAuthorizer(endpoint, "app", { given: ALICE });
  const attempt = authorizer.renew(challenge, undefined, { endpoint, stallTimeoutMs: 1000 });
  await expect(attempt).rejects.toThrow(problem);
  await expect(attempt).rejects.toMatchObject({ kind: "FailedPrecondition" });
});

test.each([
  [{ auth: "not base64!" }, "auth.auth"],
  [{ auth: btoa("nocolon") }, "auth.auth"],
  [{ registryToken: `${SECRET}\r\nx: y` }, "auth.registry_token"],
  [{ identityToken: `${SECRET}\n` }, "auth.identity_token"],
])("malformed credentials are an error that does not repeat them", (auth, field) => {
  expect(() => credentialsFor(auth, "r.example")).toThrow(field);
  try {
    credentialsFor(auth, "r.example");
  } catch (error) {
    expect(messageOf(error)).not.toContain(SECRET);
  }
});

test("no failure repeats a credential", async () => {
  for (const status of [400, 401, 403, 404, 500]) {
    registry.override = () => new Response("", { status, headers: { "www-authenticate": "Basic" } });
    const error: unknown = await session(ALICE)
      .manifest("v1")
      .catch((reason) => reason);
    expect(error).toBeInstanceOf(Error);
    const shown = Bun.inspect(error);
    expect(shown).not.toContain(SECRET);
    expect(shown).not.toContain(btoa(`alice:${SECRET}`));
  }
});

test("different credentials have different fingerprints, which do not contain them", () => {
  const all = [
    undefined,
    ALICE,
    { ...ALICE, password: "x" },
    { identityToken: "alice" },
    { registryToken: "alice" },
  ];
  expect(new Set(all.map(fingerprintOf)).size).toBe(all.length);
  expect(fingerprintOf(ALICE)).not.toContain(SECRET);
});

test("credentials of the configuration are for the endpoint that they name, a mirror too, and only when it asks", async () => {
  await using mirror = startFakeRegistry();
  mirror.add("team/app:v1", image);
  mirror.override = ({ headers }) =>
    headers.get("authorization") === BASIC ? undefined : unauthorized('Basic realm="m"');
  const asked: string[] = [];
  const pull = openSession({
    reference: parseReference("registry.example/team/app:v1"),
    endpoints: hostPlan(
      "registry.example",
      { "registry.example": { mirrors: [mirror.url], plain_http: true } },
      "/x",
    ).endpoints,
    auth: { username: "of the request", password: SECRET },
    configuredAuth: ({ host }) => {
      asked.push(host);
      return host === mirror.host ? ALICE : undefined;
    },
    stallTimeoutMs: 5000,
  });
  await pull.manifest("v1");
  expect(authorizations(mirror)).toEqual([null, BASIC]);
  expect(asked).toEqual([mirror.host]);
});

test("credentials of the request that name a mirror are the mirror's", async () => {
  await using mirror = startFakeRegistry();
  mirror.add("team/app:v1", image);
  mirror.override = ({ headers }) =>
    headers.get("authorization") === BASIC ? undefined : unauthorized('Basic realm="m"');
  await session({ ...ALICE, serverAddress: mirror.url }, [mirror.url], "registry.example").manifest("v1");
  expect(authorizations(mirror)).toEqual([null, BASIC]);
});

test("credentials of the request count before those of the configuration", async () => {
  registry.override = ({ headers }) =>
    headers.get("authorization") === BASIC ? undefined : unauthorized('Basic realm="r"');
  const pull = openSession({
    reference: parseReference(`${registry.host}/team/app:v1`),
    endpoints: hostPlan(registry.host, { [registry.host]: { mirrors: [], plain_http: true } }, "/x")
      .endpoints,
    auth: ALICE,
    configuredAuth: () => ({ username: "bob", password: "x" }),
    stallTimeoutMs: 5000,
  });
  await pull.manifest("v1");
  expect(authorizations(registry)).toEqual([null, BASIC]);
});

// What registries answered to a pull of something private or missing, in 2026 and before.
test.each<[string, () => Response, () => Response, string]>([
  [
    "Docker Hub, whose token is not good for a repository that may not exist",
    () =>
      new Response(
        '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository"}]}]}',
        {
          status: 401,
          headers: {
            "www-authenticate": `Bearer realm="${tokens.url}/token",service="registry.docker.io",scope="repository:team/app:pull",error="insufficient_scope"`,
          },
        },
      ),
    () => Response.json({ token: crypto.randomUUID() }),
    "does not let team/app be pulled (insufficient_scope): it does not exist there, or needs other credentials",
  ],
  [
    "Docker Hub, told a wrong password",
    () => unauthorized(`Bearer realm="${tokens.url}/token",service="registry.docker.io"`),
    () => Response.json({ details: "incorrect username or password" }, { status: 401 }),
    "does not accept the credentials given (incorrect username or password)",
  ],
  [
    "GitHub",
    () =>
      unauthorized(`Bearer realm="${tokens.url}/token",service="ghcr.io",scope="repository:team/app:pull"`),
    () =>
      Response.json(
        { errors: [{ code: "DENIED", message: "requested access to the resource is denied" }] },
        { status: 403 },
      ),
    "does not accept the credentials given (requested access to the resource is denied)",
  ],
  [
    "Quay",
    () =>
      Response.json(
        {
          errors: [
            {
              code: "UNAUTHORIZED",
              detail: {},
              message: "access to the requested resource is not authorized",
            },
          ],
        },
        { status: 403 },
      ),
    () => new Response(""),
    "answered 403 (unauthorized: access to the requested resource is not authorized)",
  ],
])("%s: the sentence has the registry's reason", async (_, answer, token, problem) => {
  registry.override = answer;
  tokens.override = token;
  const attempt = session(ALICE).manifest("v1");
  await expect(attempt).rejects.toThrow(`${registry.host} ${problem}`);
  await expect(attempt).rejects.toMatchObject({ kind: "PermissionDenied" });
  expect(registry.requests.length).toBeLessThanOrEqual(2);
});

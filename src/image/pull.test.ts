// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import {
  type FakeRegistry,
  fakeImage,
  OCI_INDEX,
  OCI_MANIFEST,
  startFakeRegistry,
} from "../../test/fixtures/fake-registry.ts";
import { appV1, appV2, startImageInstance } from "../../test/fixtures/image-instance.ts";
import { DeadlineExceededError, InvalidArgumentError } from "../errors.ts";
import { digestOf } from "../oci/digest.ts";
import { hostPlatform } from "../oci/manifest.ts";
import type { PullProgress } from "./pull-progress.ts";

const HOST_ARCHITECTURE = hostPlatform().architecture;
const OTHER = HOST_ARCHITECTURE === "amd64" ? "arm64" : "amd64";

type Instance = ReturnType<typeof startImageInstance>;
let instance: Instance;
let registry: FakeRegistry;
let named: Instance["named"];
let pull: Instance["pull"];

beforeEach(() => {
  instance = startImageInstance();
  ({ registry, named, pull } = instance);
});
afterEach(() => instance[Symbol.asyncDispose]());

/** Expects a pull to fail as told, and the store to be as it was before. */
async function expectFailure(name: string, message: string | RegExp, kind: string): Promise<Error> {
  const before = instance.state();
  const error = (await pull(name).catch((reason) => reason)) as Error;
  expect(error.message).toMatch(message);
  expect(error).toMatchObject({ kind });
  expect(error.message).toContain(registry.host);
  expect(instance.state()).toEqual(before);
  return error;
}

test("an image is pulled, unpacked from the bottom up and recorded", async () => {
  const progress: PullProgress[] = [];
  const record = await pull("app:v1", { onProgress: (step) => progress.push(step) });
  const sizes = [...appV1.blobs.values()].map(({ length }) => length);
  expect(record).toMatchObject({
    id: appV1.configDigest,
    repoTags: [named("app:v1")],
    repoDigests: [named(`app@${appV1.manifestDigest}`)],
    manifestDigest: appV1.manifestDigest,
    sizeBytes: sizes.reduce((sum, size) => sum + size, appV1.manifest.length),
  });
  expect(record.config).toMatchObject({ User: "33", Labels: { a: "b" }, Env: [] });
  const [bottom, top] = appV1.layers.map(({ diffId }) => diffId) as [string, string];
  expect(record.layers.map(({ chainId }) => chainId)).toEqual([bottom, digestOf(`${bottom} ${top}`)]);
  expect(instance.snapshots.listLayers()).toEqual(record.layers.map(({ chainId }) => chainId));
  expect(instance.content.list().sort()).toEqual([...record.blobs].sort());
  expect(progress[0]?.phase).toBe("resolving");
  const total = appV1.layers.reduce((sum, { bytes }) => sum + bytes.length, 0);
  expect(progress.at(-1)).toEqual({
    reference: named("app:v1"),
    phase: "done",
    doneBytes: total,
    totalBytes: total,
    layersDone: 2,
    layersTotal: 2,
    layers: appV1.layers.map(({ digest, bytes }) => {
      const size = bytes.length;
      return { digest, state: "done", doneBytes: size, keptBytes: 0, totalBytes: size };
    }),
  });
  const states = progress.map(({ layers }) => layers[0]?.state);
  const told = states.filter((state, position) => state !== states[position - 1]);
  expect(told).toEqual(["waiting", "downloading", "downloaded", "unpacking", "done"]);
  expect(instance.images.pulling()).toEqual([]);
});

test("pulling what is present only asks for the tag's digest", async () => {
  const first = await pull("app:v1");
  registry.requests.length = 0;
  expect(await pull("app:v1")).toEqual(first);
  expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
    "HEAD /v2/app/manifests/v1",
  ]);
});

test("a pull of what is current already asks for the image all the same", async () => {
  const old = { ...(await pull("app:v1")), createdAtNs: "0" };
  expect(instance.images.idleMs(old)).toBeLessThan(60_000);
  const restarted = instance.openAgain();
  expect(restarted.idleMs(old)).toBeGreaterThan(1e12);
  await restarted.pull(named("app:v1"));
  expect(restarted.idleMs(old)).toBeLessThan(60_000);
});

test("a registry that does not answer HEAD is asked for the manifest instead", async () => {
  const first = await pull("app:v1");
  registry.override = ({ method }) => (method === "HEAD" ? new Response("", { status: 405 }) : undefined);
  registry.requests.length = 0;
  expect(await pull("app:v1")).toEqual(first);
  expect(registry.count("/blobs/")).toBe(0);
});

test("a layer that another image has is neither fetched nor unpacked again", async () => {
  await pull("app:v1");
  await pull("app:v2");
  expect(registry.count(`/blobs/${appV1.layers[0]?.digest}`)).toBe(1);
  expect(instance.unpacker.unpacked).toHaveLength(3);
});

test("concurrent pulls of one reference and of one layer share the work", async () => {
  const records = await Promise.all([pull("app:v1"), pull("app:v1"), pull("app:v1"), pull("app:v2")]);
  expect(new Set(records.map(({ id }) => id)).size).toBe(2);
  expect(registry.count("/app/manifests/v1")).toBe(1);
  expect(registry.count(`/blobs/${appV1.layers[0]?.digest}`)).toBe(1);
  expect(instance.unpacker.unpacked).toHaveLength(3);
});

test("a layer that is damaged on disk is fetched again, and those above it are unpacked on what comes then", async () => {
  const [bottom] = appV1.layers;
  writeFileSync(instance.content.path(bottom!.digest), Buffer.alloc(bottom!.bytes.length, "damage"));
  const record = await pull("app:v1");
  expect(instance.snapshots.listLayers()).toEqual(record.layers.map(({ chainId }) => chainId));
  expect(registry.count(`/blobs/${bottom!.digest}`)).toBe(1);
});

test("no more layers are downloaded at a time than configured", async () => {
  let now = 0;
  let most = 0;
  registry.add("many:v1", fakeImage(["1", "2", "3", "4", "5", "6", "7", "8"]));
  registry.override = async ({ path }) => {
    if (!path.includes("/blobs/")) return undefined;
    most = Math.max(most, ++now);
    await Bun.sleep(10);
    now--;
    return undefined;
  };
  await pull("many:v1");
  expect(most).toBe(3);
});

test("a pull by digest has no tag, and the digest names it", async () => {
  const record = await pull(`app@${appV1.manifestDigest}`);
  expect(record.repoTags).toEqual([]);
  expect(record.repoDigests).toEqual([named(`app@${appV1.manifestDigest}`)]);
  expect((await pull("app:v1")).repoTags).toEqual([named("app:v1")]);
  expect(instance.images.list()).toHaveLength(1);
});

test("the part for this machine is taken out of an index, and the index's digest names the image", async () => {
  const foreign = fakeImage(["foreign"], { architecture: OTHER });
  const entry = (of: typeof appV1, architecture: string) => ({
    mediaType: OCI_MANIFEST,
    digest: of.manifestDigest,
    size: of.manifest.length,
    platform: { os: "linux", architecture },
  });
  const manifests = [entry(foreign, OTHER), entry(appV1, HOST_ARCHITECTURE)];
  const bytes = new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }),
  );
  registry.tags.set("multi:v1", { bytes, mediaType: OCI_INDEX });
  registry.tags.set(digestOf(bytes), { bytes, mediaType: OCI_INDEX });
  const record = await pull("multi:v1");
  expect(record.id).toBe(appV1.configDigest);
  expect(record.manifestDigest).toBe(appV1.manifestDigest);
  expect(record.repoDigests).toEqual([named(`multi@${digestOf(bytes)}`)]);
  expect(record.blobs).toContain(digestOf(bytes));
  expect(registry.count(`/blobs/${foreign.layers[0]?.digest}`)).toBe(0);
  expect((await pull(`multi@${digestOf(bytes)}`)).id).toBe(appV1.configDigest);
});

test("an image for another machine is refused by its configuration", async () => {
  registry.add("foreign:v1", fakeImage(["x"], { architecture: OTHER }));
  await expectFailure("foreign:v1", `the image is for linux/${OTHER}`, "NotFound");
});

test("an image that does not exist is NotFound in one sentence", async () => {
  const error = await expectFailure("nope:latest", "answered 404", "NotFound");
  expect(error.message).toBe(
    `cannot pull ${named("nope:latest")}: manifest latest: ${registry.host} answered 404 (manifest unknown); check the name and tag`,
  );
});

test("a registry that does not answer is Unavailable, as the kubelet recognises it", async () => {
  await registry[Symbol.asyncDispose]();
  const error = await expectFailure("app:v1", "ECONNREFUSED", "Unavailable");
  expect(error.message).toStartWith(`RegistryUnavailable: cannot pull ${named("app:v1")}: `);
});

test("a refusal is PermissionDenied", async () => {
  registry.override = () => new Response("", { status: 403 });
  await expectFailure(
    "app:v1",
    "answered 403 (forbidden); check the name and the credentials, those of the pull or of image.auth_file",
    "PermissionDenied",
  );
});

test("a layer with the wrong digest leaves nothing, not even the layers that were right", async () => {
  const { digest, bytes } = appV1.layers[1] as (typeof appV1.layers)[0];
  registry.blobs.set(
    digest,
    bytes.map((byte) => byte ^ 1),
  );
  const error = await expectFailure("app:v1", "wrong digest", "FailedPrecondition");
  expect(error.message).toContain(`blob ${digest} from ${registry.host}`);
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], ingest: [] });
});

test("a failed pull takes nothing from the images that are there", async () => {
  const record = await pull("app:v1");
  registry.blobs.delete(appV2.layers[1]?.digest as string);
  await expectFailure("app:v2", "answered 404", "NotFound");
  expect(record.blobs.every(instance.content.has)).toBe(true);
});

test("a layer that unpacks to something else than the configuration says is refused", async () => {
  const lying = fakeImage(["honest"]);
  const config = new TextDecoder().decode(lying.blobs.get(lying.configDigest));
  const forged = new TextEncoder().encode(
    config.replace(lying.layers[0]?.diffId as string, digestOf("other")),
  );
  const manifest = new TextDecoder().decode(lying.manifest).replaceAll(lying.configDigest, digestOf(forged));
  registry.tags.set("lying:v1", { bytes: new TextEncoder().encode(manifest), mediaType: OCI_MANIFEST });
  registry.blobs.set(digestOf(forged), forged);
  registry.blobs.set(lying.layers[0]?.digest as string, lying.layers[0]?.bytes as Uint8Array);
  await expectFailure("lying:v1", "where the image configuration says", "FailedPrecondition");
});

test("a manifest and a configuration that disagree about the layers are refused", async () => {
  const [first] = (JSON.parse(new TextDecoder().decode(appV1.manifest)) as { layers: object[] }).layers;
  registry.add("short:v1", fakeImage(["a", "b"], { manifest: { layers: [first] } }));
  await expectFailure("short:v1", "has 1 layers where the image configuration has 2", "FailedPrecondition");
});

test.each([
  ["a descriptor with the wrong size", { layer: { size: 5 } }, "where the manifest says 5"],
  ["a manifest that is an index as well", { manifest: { manifests: [] } }, "both an index"],
  ["a manifest announced as another type", { manifest: { mediaType: OCI_INDEX } }, "was announced as"],
  [
    "128 layers",
    {
      manifest: {
        layers: Array(128).fill({
          mediaType: "application/vnd.oci.image.layer.v1.tar",
          digest: digestOf("x"),
          size: 1,
        }),
      },
    },
    "128 layers where 127",
  ],
  [
    "a configuration of 9 MiB",
    {
      manifest: {
        config: {
          mediaType: "application/vnd.oci.image.config.v1+json",
          digest: digestOf("x"),
          size: 9 << 20,
        },
      },
    },
    "configuration has 9437184 bytes",
  ],
])("%s is refused", async (_, options, problem) => {
  registry.add("odd:v1", fakeImage(["x"], options));
  await expectFailure("odd:v1", problem, "FailedPrecondition");
});

test("a descriptor that lies about the size of a blob that is here is refused too", async () => {
  await pull("app:v1");
  registry.add("odd:v1", fakeImage(["base layer"], { layer: { size: 5 } }));
  await expectFailure("odd:v1", "where the manifest says 5", "FailedPrecondition");
});

test("URLs of foreign layers are never followed", async () => {
  await using elsewhere = startFakeRegistry();
  const layer = {
    mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    urls: [`${elsewhere.url}/layer`],
  };
  registry.add("foreign:v1", fakeImage(["x"], { layer }));
  await pull("foreign:v1");
  expect(elsewhere.requests).toEqual([]);
});

test("a caller that gives up gets its deadline back and nothing is left", async () => {
  registry.override = ({ path }) => (path.includes("/blobs/") ? new Promise<Response>(() => {}) : undefined);
  const attempt = pull("app:v1", { signal: AbortSignal.timeout(50) });
  await expect(attempt).rejects.toBeInstanceOf(DeadlineExceededError);
  await expect(attempt).rejects.toThrow(`cannot pull ${named("app:v1")}: the caller's deadline has passed`);
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], ingest: [], images: [] });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  await expect(pull("app:v1", { signal: controller.signal })).rejects.toMatchObject({ kind: "Canceled" });
});

test("a caller that gives up in the middle of an unpacking leaves nothing", async () => {
  instance.unpacker.before = (signal) =>
    new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  await expect(pull("app:v1", { signal: AbortSignal.timeout(100) })).rejects.toBeInstanceOf(
    DeadlineExceededError,
  );
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], ingest: [], images: [] });
});

test("one of two callers that gives up does not spoil the other's pull", async () => {
  registry.override = async ({ path }) => {
    if (path.includes("/blobs/")) await Bun.sleep(100);
    return undefined;
  };
  const impatient = pull("app:v1", { signal: AbortSignal.timeout(30) }).catch((error) => error);
  const patient = pull("app:v1");
  expect(await impatient).toMatchObject({ kind: "DeadlineExceeded" });
  expect((await patient).id).toBe(appV1.configDigest);
});

test("a layer shared with a pull that is given up is still pulled by the other", async () => {
  let isFirst = true;
  registry.override = async ({ path }) => {
    if (!path.endsWith(appV1.layers[0]?.digest as string) || !isFirst) return undefined;
    isFirst = false;
    return new Promise<Response>(() => {});
  };
  const doomed = pull("app:v1", { signal: AbortSignal.timeout(100) }).catch((error) => error);
  await Bun.sleep(30);
  const record = await pull("app:v2");
  expect(await doomed).toMatchObject({ kind: "DeadlineExceeded" });
  expect(record.blobs.every(instance.content.has)).toBe(true);
  expect(instance.images.list()).toHaveLength(1);
});

test("different credentials do not share a pull", async () => {
  registry.override = ({ headers }) =>
    headers.get("authorization") === `Basic ${btoa("a:good")}`
      ? undefined
      : new Response("", { status: 401, headers: { "www-authenticate": "Basic" } });
  const [bad, good] = await Promise.allSettled([
    pull("app:v1", { auth: { username: "a", password: "bad" } }),
    pull("app:v1", { auth: { username: "a", password: "good" } }),
  ]);
  expect(bad).toMatchObject({ reason: { kind: "PermissionDenied" } });
  expect(good.status).toBe("fulfilled");
});

test("malformed references and credentials are the caller's InvalidArgument", async () => {
  await expect(instance.images.pull("UPPER")).rejects.toBeInstanceOf(InvalidArgumentError);
  await expect(pull("app:v1", { auth: { auth: "?" } })).rejects.toBeInstanceOf(InvalidArgumentError);
  expect(registry.requests).toEqual([]);
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FakeRegistry,
  fakeImage,
  OCI_INDEX,
  OCI_MANIFEST,
  startFakeRegistry,
} from "../../test/fixtures/fake-registry.ts";
import { fakeSnapshots, fakeUnpacker } from "../../test/fixtures/fake-snapshots.ts";
import { parseConfig } from "../config.ts";
import { DeadlineExceededError, InvalidArgumentError } from "../errors.ts";
import { digestOf } from "../oci/digest.ts";
import { pathsFor } from "../paths.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { openDatabase } from "../state/database.ts";
import { openTable } from "../state/table.ts";
import { openContentStore } from "./content-store.ts";
import { type ImageRecord, type Images, openImages } from "./images.ts";
import type { PullProgress } from "./pull.ts";

const OTHER = process.arch === "x64" ? "arm64" : "amd64";
const HOST_ARCHITECTURE = process.arch === "x64" ? "amd64" : process.arch;
const base = "base layer";
const image = fakeImage([base, "application"], { config: { User: "33", Labels: { a: "b" } } });
const other = fakeImage([base, "another application"]);

let root: string;
let registry: FakeRegistry;
let instance: ReturnType<typeof open>;
let inUse: Set<string>;

function open() {
  const paths = pathsFor(root);
  const database = openDatabase(paths.database);
  const content = openContentStore(paths);
  const snapshots = fakeSnapshots(paths.layersDir);
  const unpacker = fakeUnpacker();
  const text = `[image]\nstall_timeout_ms = 500\n[registries."${registry.host}"]\nplain_http = true\n`;
  const openAgain = (): Images =>
    openImages({
      paths,
      config: parseConfig(text, "0", "config.toml"),
      table: openTable<ImageRecord>(database, "images"),
      content,
      snapshotter: snapshots as unknown as Snapshotter,
      unpacker: { ...unpacker, close: async () => {} },
      inUse: () => inUse,
    });
  return { paths, content, snapshots, unpacker, database, images: openAgain(), openAgain };
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "podrt-images-"));
  registry = startFakeRegistry();
  registry.add("app:v1", image);
  registry.add("app:v2", other);
  inUse = new Set();
  instance = open();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  instance.database.close();
  rmSync(root, { recursive: true });
});

const named = (name: string) => `${registry.host}/${name}`;
const pull = (name: string, options?: Parameters<Images["pull"]>[1]) =>
  instance.images.pull(named(name), options);
const settle = () => instance.images.collect(() => inUse);
const state = () => ({
  blobs: instance.content.list().sort(),
  layers: instance.snapshots.directories().sort(),
  ingest: readdirSync(instance.paths.ingestDir),
  images: instance.images.list(),
});
/** Expects a pull to fail as told, and the store to be as it was before. */
async function expectFailure(name: string, message: string | RegExp, kind: string): Promise<Error> {
  const before = state();
  const error = (await pull(name).catch((reason) => reason)) as Error;
  expect(error.message).toMatch(message);
  expect(error).toMatchObject({ kind });
  expect(error.message).toContain(registry.host);
  expect(state()).toEqual(before);
  return error;
}

test("an image is pulled, unpacked from the bottom up and recorded", async () => {
  const progress: PullProgress[] = [];
  const record = await pull("app:v1", { onProgress: (step) => progress.push(step) });
  const sizes = [...image.blobs.values()].map(({ length }) => length);
  expect(record).toMatchObject({
    id: image.configDigest,
    repoTags: [named("app:v1")],
    repoDigests: [named(`app@${image.manifestDigest}`)],
    manifestDigest: image.manifestDigest,
    sizeBytes: sizes.reduce((sum, size) => sum + size, image.manifest.length),
    pinned: false,
  });
  expect(record.config).toMatchObject({ User: "33", Labels: { a: "b" }, Env: [] });
  const [bottom, top] = image.layers.map(({ diffId }) => diffId) as [string, string];
  expect(record.layers.map(({ chainId }) => chainId)).toEqual([bottom, digestOf(`${bottom} ${top}`)]);
  expect(instance.snapshots.listLayers()).toEqual(record.layers.map(({ chainId }) => chainId));
  expect(instance.content.list().sort()).toEqual([...record.blobs].sort());
  expect(progress[0]?.phase).toBe("resolving");
  const total = image.layers.reduce((sum, { bytes }) => sum + bytes.length, 0);
  expect(progress.at(-1)).toEqual({
    reference: named("app:v1"),
    phase: "done",
    doneBytes: total,
    totalBytes: total,
    layersDone: 2,
    layersTotal: 2,
  });
});

test("pulling what is present only asks for the tag's digest", async () => {
  const first = await pull("app:v1");
  registry.requests.length = 0;
  expect(await pull("app:v1")).toEqual(first);
  expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
    "HEAD /v2/app/manifests/v1",
  ]);
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
  expect(registry.count(`/blobs/${image.layers[0]?.digest}`)).toBe(1);
  expect(instance.unpacker.unpacked).toHaveLength(3);
});

test("concurrent pulls of one reference and of one layer share the work", async () => {
  const records = await Promise.all([pull("app:v1"), pull("app:v1"), pull("app:v1"), pull("app:v2")]);
  expect(new Set(records.map(({ id }) => id)).size).toBe(2);
  expect(registry.count("/app/manifests/v1")).toBe(1);
  expect(registry.count(`/blobs/${image.layers[0]?.digest}`)).toBe(1);
  expect(instance.unpacker.unpacked).toHaveLength(3);
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
  const record = await pull(`app@${image.manifestDigest}`);
  expect(record.repoTags).toEqual([]);
  expect(record.repoDigests).toEqual([named(`app@${image.manifestDigest}`)]);
  expect((await pull("app:v1")).repoTags).toEqual([named("app:v1")]);
  expect(instance.images.list()).toHaveLength(1);
});

test("the same image under several names and registries is one image", async () => {
  registry.add("mirror/app:stable", image);
  await pull("app:v1");
  const record = await pull("mirror/app:stable");
  expect(record.repoTags).toEqual([named("app:v1"), named("mirror/app:stable")]);
  expect(instance.images.list()).toEqual([record]);
});

test("a tag that moves leaves the former image nameless but there", async () => {
  const former = await pull("app:v1");
  registry.add("app:v1", other);
  const now = await pull("app:v1");
  expect(now.id).toBe(other.configDigest);
  expect(instance.images.find(named("app:v1"))?.id).toBe(other.configDigest);
  expect(instance.images.find(former.id)?.repoTags).toEqual([]);
  await settle();
  expect(instance.images.list()).toHaveLength(2);
  expect(former.blobs.every(instance.content.has)).toBe(true);
});

test("the part for this machine is taken out of an index, and the index's digest names the image", async () => {
  const foreign = fakeImage(["foreign"], { architecture: OTHER });
  const entry = (of: typeof image, architecture: string) => ({
    mediaType: OCI_MANIFEST,
    digest: of.manifestDigest,
    size: of.manifest.length,
    platform: { os: "linux", architecture },
  });
  const manifests = [entry(foreign, OTHER), entry(image, HOST_ARCHITECTURE)];
  const bytes = new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }),
  );
  registry.tags.set("multi:v1", { bytes, mediaType: OCI_INDEX });
  registry.tags.set(digestOf(bytes), { bytes, mediaType: OCI_INDEX });
  const record = await pull("multi:v1");
  expect(record.id).toBe(image.configDigest);
  expect(record.manifestDigest).toBe(image.manifestDigest);
  expect(record.repoDigests).toEqual([named(`multi@${digestOf(bytes)}`)]);
  expect(record.blobs).toContain(digestOf(bytes));
  expect(registry.count(`/blobs/${foreign.layers[0]?.digest}`)).toBe(0);
  expect((await pull(`multi@${digestOf(bytes)}`)).id).toBe(image.configDigest);
});

test("an image for another machine is refused by its configuration", async () => {
  registry.add("foreign:v1", fakeImage(["x"], { architecture: OTHER }));
  await expectFailure("foreign:v1", `the image is for linux/${OTHER}`, "NotFound");
});

test("an image that does not exist is NotFound in one sentence", async () => {
  const error = await expectFailure("nope:latest", "answered 404", "NotFound");
  expect(error.message).toBe(
    `cannot pull ${named("nope:latest")}: ${registry.host} answered 404 (manifests unknown); check the name and tag`,
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
    "answered 403 (forbidden); check the name and the credentials",
    "PermissionDenied",
  );
});

test("a layer with the wrong digest leaves nothing, not even the layers that were right", async () => {
  const { digest, bytes } = image.layers[1] as (typeof image.layers)[0];
  registry.blobs.set(
    digest,
    bytes.map((byte) => byte ^ 1),
  );
  const error = await expectFailure("app:v1", "wrong digest", "FailedPrecondition");
  expect(error.message).toContain(`blob ${digest} from ${registry.host}`);
  expect(state()).toMatchObject({ blobs: [], layers: [], ingest: [] });
});

test("a failed pull takes nothing from the images that are there", async () => {
  const record = await pull("app:v1");
  registry.blobs.delete(other.layers[1]?.digest as string);
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
  const [first] = (JSON.parse(new TextDecoder().decode(image.manifest)) as { layers: object[] }).layers;
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
  registry.add("odd:v1", fakeImage([base], { layer: { size: 5 } }));
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
  expect(state()).toMatchObject({ blobs: [], layers: [], ingest: [], images: [] });
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
  expect(state()).toMatchObject({ blobs: [], layers: [], ingest: [], images: [] });
});

test("one of two callers that gives up does not spoil the other's pull", async () => {
  registry.override = async ({ path }) => {
    if (path.includes("/blobs/")) await Bun.sleep(100);
    return undefined;
  };
  const impatient = pull("app:v1", { signal: AbortSignal.timeout(30) }).catch((error) => error);
  const patient = pull("app:v1");
  expect(await impatient).toMatchObject({ kind: "DeadlineExceeded" });
  expect((await patient).id).toBe(image.configDigest);
});

test("a layer shared with a pull that is given up is still pulled by the other", async () => {
  let isFirst = true;
  registry.override = async ({ path }) => {
    if (!path.endsWith(image.layers[0]?.digest as string) || !isFirst) return undefined;
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

test("an image is found by every name it has", async () => {
  const record = await pull("app:v1");
  const hex = record.id.slice(7);
  const { find } = instance.images;
  for (const name of [
    record.id,
    hex,
    hex.slice(0, 13),
    `sha256:${hex.slice(0, 9)}`,
    named("app:v1"),
    named(`app@${image.manifestDigest}`),
    named(`app:v1@${image.manifestDigest}`),
  ]) {
    expect(find(name)).toEqual(record);
  }
  for (const name of [
    named("app"),
    named("app:v2"),
    "f".repeat(64),
    "0".repeat(64),
    "x",
    "",
    "UPPER",
    "a b",
    "../..",
  ]) {
    expect(find(name)).toBeUndefined();
  }
});

test("the beginning of several ids is an error, not a guess", async () => {
  const contents = Array.from({ length: 17 }, (_, n) => `image ${n}`);
  for (const [n, content] of contents.entries()) {
    registry.add(`n:${n}`, fakeImage([content]));
    await pull(`n:${n}`);
  }
  const firsts = instance.images.list().map(({ id }) => id[7] as string);
  const shared = firsts.find((letter, position) => firsts.indexOf(letter) !== position) as string;
  expect(() => instance.images.find(shared)).toThrow(InvalidArgumentError);
});

test("removal by any name takes all names and, with them, what nobody else needs", async () => {
  registry.add("app:latest", image);
  await pull("app:v1");
  await pull("app:latest");
  const kept = await pull("app:v2");
  await instance.images.remove(named("app:v1"));
  expect(instance.images.find(named("app:latest"))).toBeUndefined();
  expect(instance.images.list()).toEqual([kept]);
  await settle();
  expect(instance.content.list().sort()).toEqual([...kept.blobs].sort());
  expect(instance.snapshots.listLayers().sort()).toEqual(kept.layers.map(({ chainId }) => chainId).sort());
});

test("removing what is absent is no error, five times at once", async () => {
  await pull("app:v1");
  const names = [named("app:v1"), "0".repeat(64), "not an image", "", crypto.randomUUID()];
  await Promise.all(names.map((name) => instance.images.remove(name)));
  expect(instance.images.list()).toEqual([]);
});

test("the layers of a removed image stay while a container uses it, and go afterwards", async () => {
  const record = await pull("app:v1");
  inUse.add(record.id);
  await instance.images.remove(record.id);
  await settle();
  expect(instance.images.list()).toEqual([]);
  expect(instance.images.find(record.id)).toBeUndefined();
  expect(instance.snapshots.listLayers()).toHaveLength(2);
  expect(instance.content.list()).toEqual([]);
  inUse.clear();
  await settle();
  expect(instance.snapshots.listLayers()).toEqual([]);
});

test("an image that was removed while in use comes back whole with a pull", async () => {
  const record = await pull("app:v1");
  inUse.add(record.id);
  await instance.images.remove(record.id);
  await settle();
  const again = await pull("app:v1");
  expect(again).toMatchObject({ id: record.id, repoTags: record.repoTags });
  expect(instance.unpacker.unpacked).toHaveLength(2);
  expect(again.blobs.every(instance.content.has)).toBe(true);
});

test("a removal does not take the layers that a pull has come to rely on", async () => {
  const record = await pull("app:v1");
  const gate = Promise.withResolvers<void>();
  registry.override = async ({ path }) => {
    if (path.endsWith(other.layers[1]?.digest as string)) await gate.promise;
    return undefined;
  };
  const pulling = pull("app:v2");
  await Bun.sleep(50);
  await instance.images.remove(record.id);
  await settle();
  expect(instance.snapshots.listLayers()).toEqual([record.layers[0]?.chainId as string]);
  gate.resolve();
  const pulled = await pulling;
  expect(pulled.layers.every(({ chainId }) => instance.snapshots.hasLayer(chainId))).toBe(true);
  expect(pulled.blobs.every(instance.content.has)).toBe(true);
});

test("a pull that comes while a layer is being removed waits, and unpacks it anew", async () => {
  const record = await pull("app:v1");
  const removing = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  instance.snapshots.beforeRemoval = async () => {
    removing.resolve();
    await go.promise;
  };
  await instance.images.remove(record.id);
  await removing.promise;
  const pulling = pull("app:v1");
  await Bun.sleep(50);
  go.resolve();
  const again = await pulling;
  await settle();
  expect(again.layers.every(({ chainId }) => instance.snapshots.hasLayer(chainId))).toBe(true);
});

test("an import's blobs become an image, under names in their normal form", async () => {
  const record = await instance.images.hold(async () => {
    for (const bytes of [image.manifest, ...image.blobs.values()]) {
      await instance.content.ingest([bytes] as never, {});
    }
    await settle();
    return instance.images.commit(image.manifestDigest, { repoTags: ["nginx"], repoDigests: [] });
  });
  expect(record).toMatchObject({ id: image.configDigest, repoTags: ["docker.io/library/nginx:latest"] });
  expect(instance.images.find("nginx")).toEqual(record);
  await settle();
  expect(record.blobs.every(instance.content.has)).toBe(true);
});

test("an import that lacks a blob, or has a malformed name, leaves nothing", async () => {
  const attempt = (blobs: Iterable<Uint8Array>, names: string[]) =>
    instance.images.hold(async () => {
      for (const bytes of blobs) await instance.content.ingest([bytes] as never, {});
      return instance.images.commit(image.manifestDigest, { repoTags: names, repoDigests: [] });
    });
  await expect(attempt([image.manifest], ["x"])).rejects.toThrow(`blob ${image.configDigest} is missing`);
  await expect(attempt([image.manifest, ...image.blobs.values()], ["a/../b"])).rejects.toThrow("repoTags.0");
  await settle();
  expect(state()).toMatchObject({ blobs: [], layers: [], images: [] });
});

test("images are there again after a restart, except those that lost a layer", async () => {
  const record = await pull("app:v1");
  const kept = await pull("app:v2");
  expect(instance.openAgain().list()).toHaveLength(2);
  await instance.snapshots.removeLayer(record.layers[1]?.chainId as string);
  const reopened = instance.openAgain();
  expect(reopened.list()).toEqual([kept]);
  expect((await reopened.pull(named("app:v1"))).id).toBe(record.id);
});

test("a pull heals an image that has lost a blob", async () => {
  const record = await pull("app:v1");
  const lost = image.layers[0]?.digest as string;
  await instance.content.remove(lost);
  await pull("app:v1");
  expect(instance.content.has(lost)).toBe(true);
  expect(instance.images.list().map(({ id }) => id)).toEqual([record.id]);
});

test("usage counts blobs and layers on an existing mount point", async () => {
  expect(await instance.images.usage()).toMatchObject({ usedBytes: 0, inodesUsed: 0 });
  const record = await pull("app:v1");
  const usage = await instance.images.usage();
  expect(usage).toMatchObject({ usedBytes: record.sizeBytes + 2000, inodesUsed: 4 + 2 });
  expect(statfsSync(usage.mountpoint).bsize).toBeGreaterThan(0);
  await instance.images.remove(record.id);
  await settle();
  expect((await instance.images.usage()).usedBytes).toBe(0);
});

// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { statfsSync } from "node:fs";
import { type FakeRegistry, fakeImage } from "../../test/fixtures/fake-registry.ts";
import { appV1, appV2, startImageInstance } from "../../test/fixtures/image-instance.ts";
import { eventually } from "../../test/integration/harness/eventually.ts";
import { InvalidArgumentError } from "../errors.ts";

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

test("the same image under several names and registries is one image", async () => {
  registry.add("mirror/app:stable", appV1);
  await pull("app:v1");
  const record = await pull("mirror/app:stable");
  expect(record.repoTags).toEqual([named("app:v1"), named("mirror/app:stable")]);
  expect(instance.images.list()).toEqual([record]);
});

test("a tag that moves leaves the former image nameless but there", async () => {
  const former = await pull("app:v1");
  registry.add("app:v1", appV2);
  const now = await pull("app:v1");
  expect(now.id).toBe(appV2.configDigest);
  expect(instance.images.find(named("app:v1"))?.id).toBe(appV2.configDigest);
  expect(instance.images.find(former.id)?.repoTags).toEqual([]);
  await instance.settle();
  expect(instance.images.list()).toHaveLength(2);
  expect(former.blobs.every(instance.content.has)).toBe(true);
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
    named(`app@${appV1.manifestDigest}`),
    named(`app:v1@${appV1.manifestDigest}`),
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
  registry.add("app:latest", appV1);
  await pull("app:v1");
  await pull("app:latest");
  const kept = await pull("app:v2");
  await instance.images.remove(named("app:v1"));
  expect(instance.images.find(named("app:latest"))).toBeUndefined();
  expect(instance.images.list()).toEqual([kept]);
  await instance.settle();
  expect(instance.content.list().sort()).toEqual([...kept.blobs].sort());
  expect(instance.snapshots.listLayers().sort()).toEqual(kept.layers.map(({ chainId }) => chainId).sort());
});

test("removing what is absent is no error, five times at once", async () => {
  await pull("app:v1");
  const names = [named("app:v1"), "0".repeat(64), "not an image", "", crypto.randomUUID()];
  await Promise.all(names.map((name) => instance.images.remove(name)));
  expect(instance.images.list()).toEqual([]);
});

test("a removal that cannot be made to last has not happened, and can be repeated", async () => {
  const record = await pull("app:v1");
  let isFailing = true;
  const sync = () => (isFailing ? Promise.reject(new Error("EIO")) : Promise.resolve());
  const images = instance.openAgain({ sync });
  await expect(images.remove(named("app:v1"))).rejects.toThrow("EIO");
  expect(images.find(named("app:v1"))).toEqual(record);
  isFailing = false;
  await images.remove(named("app:v1"));
  await images.collect(() => new Set());
  expect(instance.content.list()).toEqual([]);
});

test("the layers of a removed image stay while a container uses it, and go afterwards", async () => {
  const record = await pull("app:v1");
  instance.inUse.add(record.id);
  await instance.images.remove(record.id);
  await instance.settle();
  expect(instance.images.list()).toEqual([]);
  expect(instance.images.find(record.id)).toBeUndefined();
  expect(instance.snapshots.listLayers()).toHaveLength(2);
  expect(instance.content.list()).toEqual([]);
  instance.inUse.clear();
  await instance.settle();
  expect(instance.snapshots.listLayers()).toEqual([]);
});

test("an image that was removed while in use comes back whole with a pull", async () => {
  const record = await pull("app:v1");
  instance.inUse.add(record.id);
  await instance.images.remove(record.id);
  await instance.settle();
  const again = await pull("app:v1");
  expect(again).toMatchObject({ id: record.id, repoTags: record.repoTags });
  expect(instance.unpacker.unpacked).toHaveLength(2);
  expect(again.blobs.every(instance.content.has)).toBe(true);
});

test("a removal does not take the layers that a pull has come to rely on", async () => {
  const record = await pull("app:v1");
  const gate = Promise.withResolvers<void>();
  registry.override = async ({ path }) => {
    if (path.endsWith(appV2.layers[1]?.digest as string)) await gate.promise;
    return undefined;
  };
  const pulling = pull("app:v2");
  await Bun.sleep(50);
  await instance.images.remove(record.id);
  await instance.settle();
  expect(instance.snapshots.listLayers()).toEqual([record.layers[0]?.chainId as string]);
  gate.resolve();
  const pulled = await pulling;
  expect(pulled.layers.every(({ chainId }) => instance.snapshots.hasLayer(chainId))).toBe(true);
  expect(pulled.blobs.every(instance.content.has)).toBe(true);
});

test("a removal answers before the disk is free; until then usage counts what is still there", async () => {
  const record = await pull("app:v1");
  const { usedBytes } = await instance.images.usage();
  const disk = Promise.withResolvers<void>();
  instance.snapshots.beforeFreed = () => disk.promise;
  await instance.images.remove(record.id);
  expect(instance.images.list()).toEqual([]);
  expect((await instance.images.usage()).usedBytes).toBe(usedBytes - record.sizeBytes);
  expect(instance.snapshots.listLayers()).toEqual([]);
  disk.resolve();
  await instance.settle();
  expect((await instance.images.usage()).usedBytes).toBe(0);
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
  await instance.settle();
  expect(again.layers.every(({ chainId }) => instance.snapshots.hasLayer(chainId))).toBe(true);
});

test("an import's blobs become an image, under names in their normal form", async () => {
  const record = await instance.images.hold(async () => {
    for (const bytes of [appV1.manifest, ...appV1.blobs.values()]) {
      await instance.content.ingest([bytes] as never, {});
    }
    await instance.settle();
    return instance.images.commit(appV1.manifestDigest, { repoTags: ["nginx"], repoDigests: [] });
  });
  expect(record).toMatchObject({ id: appV1.configDigest, repoTags: ["docker.io/library/nginx:latest"] });
  expect(instance.images.find("nginx")).toEqual(record);
  await instance.settle();
  expect(record.blobs.every(instance.content.has)).toBe(true);
});

test("layers are unpacked as their blobs arrive; where one does not, nothing is left", async () => {
  const [bottom, top] = appV1.layers.map(({ digest }) => appV1.blobs.get(digest)!);
  const others = [...appV1.blobs.values()].filter((bytes) => bytes !== bottom && bytes !== top);
  const attempt = (arrival: Promise<void>) =>
    instance.images.hold(async () => {
      for (const bytes of [appV1.manifest, ...others, bottom!])
        await instance.content.ingest([bytes] as never, {});
      const names = { repoTags: ["nginx"], repoDigests: [] };
      return instance.images.commit(appV1.manifestDigest, names, { arrivals: [Promise.resolve(), arrival] });
    });
  const failing = Promise.withResolvers<void>();
  failing.promise.catch(() => {});
  const refused = attempt(failing.promise);
  await eventually("the bottom layer is unpacked", () => instance.unpacker.unpacked.length === 1);
  failing.reject(new Error("the archive ends here"));
  await expect(refused).rejects.toThrow("the archive ends here");
  await instance.settle();
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], images: [] });
  const arrival = Promise.withResolvers<void>();
  const committed = attempt(arrival.promise);
  await eventually("the bottom layer is unpacked", () => instance.unpacker.unpacked.length === 2);
  await instance.content.ingest([top] as never, {});
  arrival.resolve();
  expect((await committed).layers.map(({ digest }) => digest)).toEqual(
    appV1.layers.map(({ digest }) => digest),
  );
});

test("what becomes of images is told once, however many wait for it", async () => {
  const changes: string[] = [];
  const end = instance.images.onChange(({ type, name, reason }) => {
    changes.push([type, name, reason].filter((word) => word !== undefined).join(" "));
  });
  const [record] = await Promise.all([pull("app:v1"), pull("app:v1")]);
  await expect(pull("nobody:v1")).rejects.toThrow();
  await instance.images.commit(appV1.manifestDigest, { repoTags: ["nginx"], repoDigests: [] });
  await instance.images.remove(record.id);
  await instance.images.remove(record.id);
  end();
  await pull("app:v1");
  expect(changes).toEqual([
    `pulled ${named("app:v1")}`,
    `failed ${named("nobody:v1")} NotFound`,
    "imported docker.io/library/nginx:latest",
    `removed ${named("app:v1")}`,
  ]);
});

test("an import that lacks a blob, or has a malformed name, leaves nothing", async () => {
  const attempt = (blobs: Iterable<Uint8Array>, names: string[]) =>
    instance.images.hold(async () => {
      for (const bytes of blobs) await instance.content.ingest([bytes] as never, {});
      return instance.images.commit(appV1.manifestDigest, { repoTags: names, repoDigests: [] });
    });
  await expect(attempt([appV1.manifest], ["x"])).rejects.toThrow(`blob ${appV1.configDigest} is missing`);
  await expect(attempt([appV1.manifest, ...appV1.blobs.values()], ["a/../b"])).rejects.toThrow("repoTags.0");
  await instance.settle();
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], images: [] });
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
  const lost = appV1.layers[0]?.digest as string;
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
  await instance.settle();
  expect((await instance.images.usage()).usedBytes).toBe(0);
});

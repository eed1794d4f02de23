// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fakeImage } from "../../test/fixtures/fake-registry.ts";
import { startImageInstance } from "../../test/fixtures/image-instance.ts";
import { PAUSE_ELF } from "../linux/machine-code.ts";
import { addBuiltInPause, BUILT_IN_PAUSE } from "./built-in-pause.ts";
import type { ImageRecord } from "./images.ts";
import { isPinned } from "./pinned.ts";
import { createTarReader } from "./tar-reader.ts";

type Instance = ReturnType<typeof startImageInstance>;
let instance: Instance;

beforeEach(() => {
  instance = startImageInstance();
});
afterEach(() => instance[Symbol.asyncDispose]());

const settings = { max_concurrent_downloads: 3, stall_timeout_ms: 1000, pinned: [] };
const ofKubernetes = ["3.10", "3.10.1", "3.10.2"].map((tag) => `registry.k8s.io/pause:${tag}`);

async function add(): Promise<ImageRecord> {
  await addBuiltInPause(instance.images, instance.content);
  return instance.images.find(BUILT_IN_PAUSE)!;
}

test("the embedded pause is one pinned image under its own name and those that Kubernetes asks for", async () => {
  const record = await add();
  expect(record.repoTags).toEqual([BUILT_IN_PAUSE, ...ofKubernetes]);
  expect(record.repoDigests).toEqual([`localhost/podrt/pause@${record.manifestDigest}`]);
  expect(record.config).toMatchObject({ Entrypoint: ["/pause"], User: "65535:65535" });
  expect(isPinned(record, settings)).toBe(true);
  expect(await add()).toEqual(record);
  expect(instance.images.list()).toEqual([record]);
});

test("its one layer holds the executable and nothing else", async () => {
  const record = await add();
  const found: [string, number, number][] = [];
  const content: Uint8Array[] = [];
  const reader = createTarReader({
    entry: ({ path, mode, uid }) => void found.push([path, mode, uid]),
    data: (bytes) => void content.push(Uint8Array.from(bytes)),
    end: () => {},
  });
  reader.push(readFileSync(instance.content.path(record.layers[0]!.digest)));
  reader.finish();
  expect(found).toEqual([["pause", 0o755, 0]]);
  expect(Buffer.concat(content)).toEqual(Buffer.from(PAUSE_ELF));
});

test("a name that a pulled image has stays with it, and is not pinned", async () => {
  const pulled = fakeImage(["the real one"]);
  instance.registry.add("pause:3.10", pulled);
  const real = await instance.pull("pause:3.10");
  await instance.images.hold(() =>
    instance.images.commit(real.manifestDigest, { repoTags: [ofKubernetes[0]!], repoDigests: [] }),
  );
  const record = await add();
  expect(record.repoTags).toEqual([BUILT_IN_PAUSE, ...ofKubernetes.slice(1)]);
  const kept = instance.images.find(ofKubernetes[0]!)!;
  expect(kept.id).toBe(real.id);
  expect(isPinned(kept, settings)).toBe(false);
  expect(isPinned(kept, { ...settings, sandbox_image: ofKubernetes[0] })).toBe(true);
});

test("that of another version of podrt is replaced with all its names", async () => {
  const other = await instance.pull("app:v1");
  const repoTags = [BUILT_IN_PAUSE, ...ofKubernetes];
  await instance.images.hold(() =>
    instance.images.commit(other.manifestDigest, { repoTags, repoDigests: [] }),
  );
  const record = await add();
  expect(record.repoTags).toEqual(repoTags);
  expect(instance.images.list()).toEqual([record]);
});

test("that of a version of podrt that knew fewer names gets the others", async () => {
  const { id, manifestDigest } = await add();
  await instance.images.hold(async () => {
    await instance.images.remove(id);
    await instance.images.commit(manifestDigest, { repoTags: [BUILT_IN_PAUSE], repoDigests: [] });
  });
  const record = await add();
  expect(record.id).toBe(id);
  expect(record.repoTags).toEqual([BUILT_IN_PAUSE, ...ofKubernetes]);
  expect(instance.images.list()).toEqual([record]);
});

test("once removed it is gone until the next start", async () => {
  const record = await add();
  await instance.images.remove(ofKubernetes[0]!);
  expect(instance.images.list()).toEqual([]);
  await instance.settle();
  expect(instance.content.list()).toEqual([]);
  expect((await add()).id).toBe(record.id);
});

test("images are pinned by whole names, or by how these begin", () => {
  const image = {
    repoTags: ["registry.local/infra/dns:1"],
    repoDigests: ["registry.local/infra/dns@sha256:a"],
  };
  const pinnedBy = (...pinned: string[]) => isPinned(image, { ...settings, pinned });
  expect(pinnedBy()).toBe(false);
  expect(pinnedBy("registry.local/infra/dns:1")).toBe(true);
  expect(pinnedBy("registry.local/infra/dns@sha256:a")).toBe(true);
  expect(pinnedBy("registry.local/infra/dns")).toBe(false);
  expect(pinnedBy("registry.local/infra/*")).toBe(true);
  expect(pinnedBy("registry.local/other/*", "docker.io/*")).toBe(false);
});

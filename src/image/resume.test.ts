// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FakeRegistry, fakeImage } from "../../test/fixtures/fake-registry.ts";
import { startImageInstance } from "../../test/fixtures/image-instance.ts";
import { openContentStore } from "./content-store.ts";
import type { PullProgress } from "./pull-progress.ts";

const MIB = 1 << 20;

type Instance = ReturnType<typeof startImageInstance>;
let instance: Instance;
let registry: FakeRegistry;
/** Two layers of 3 MiB, as nothing compresses them. */
let big: ReturnType<typeof fakeImage>;

beforeEach(() => {
  instance = startImageInstance();
  ({ registry } = instance);
  big = fakeImage([randomBytes(3 * MIB), randomBytes(3 * MIB)]);
  registry.add("big:v1", big);
});
afterEach(() => instance[Symbol.asyncDispose]());

const partial = () => readdirSync(instance.paths.partialDir).sort();
const fileOf = (digest: string) => join(instance.paths.partialDir, digest.replace(":", "-"));
const rangesOf = (digest: string) =>
  registry.requests.filter(({ path }) => path.endsWith(digest)).map(({ headers }) => headers.get("range"));

/** Pulls until the layer at `position` has sent `bytes`, and then no more, and gives up. */
async function interrupted(position: number, bytes: number): Promise<void> {
  const { digest, bytes: whole } = big.layers[position]!;
  const caller = new AbortController();
  registry.override = ({ path }) => {
    if (!path.endsWith(digest)) return undefined;
    const body = new ReadableStream({
      async pull(controller) {
        controller.enqueue(whole.subarray(0, bytes));
        await new Promise(() => {});
      },
    });
    return new Response(body);
  };
  const onProgress = ({ layers }: PullProgress) => {
    const others = layers.filter((_, other) => other !== position);
    const hasOthers = others.every(({ state }) => state !== "waiting" && state !== "downloading");
    if ((layers[position]?.doneBytes ?? 0) >= bytes && hasOthers) caller.abort(new Error("enough"));
  };
  await expect(instance.pull("big:v1", { signal: caller.signal, onProgress })).rejects.toMatchObject({
    kind: "Canceled",
  });
  registry.override = undefined;
  registry.requests.length = 0;
}

test("a pull that was interrupted goes on where it was, and has the layers that had come", async () => {
  await interrupted(1, 2 * MIB);
  expect(instance.state()).toMatchObject({ blobs: [], layers: [], ingest: [], images: [] });
  const [whole, part] = big.layers as [(typeof big.layers)[0], (typeof big.layers)[0]];
  expect(statSync(fileOf(part.digest)).size).toBe(2 * MIB);
  expect(statSync(fileOf(whole.digest)).size).toBe(whole.bytes.length);
  const told: PullProgress[] = [];
  const record = await instance.pull("big:v1", { onProgress: (progress) => told.push(progress) });
  expect(rangesOf(part.digest)).toEqual([`bytes=${2 * MIB}-`]);
  expect(rangesOf(whole.digest)).toEqual([]);
  expect(record.blobs.every((digest) => instance.content.has(digest))).toBe(true);
  expect(told.at(-1)?.layers[1]).toMatchObject({ state: "done", keptBytes: 2 * MIB });
  expect(partial()).toEqual([]);
});

test("a daemon that was killed in the middle leaves what it had to the next", async () => {
  const { digest, bytes } = big.layers[1]!;
  writeFileSync(fileOf(digest), bytes.subarray(0, 2 * MIB));
  writeFileSync(fileOf(big.configDigest), "too little to go on with");
  // Whole, but of no image: the pull had not come to its end.
  await Bun.write(instance.content.path(big.layers[0]!.digest), big.layers[0]!.bytes);
  const content = openContentStore(instance.paths);
  await instance.openAgain({}, content).collect(() => new Set(), "setAside");
  expect(content.list()).toEqual([]);
  expect(partial()).toEqual(big.layers.map((layer) => layer.digest.replace(":", "-")).sort());
  await instance.openAgain({}, content).pull(instance.named("big:v1"));
  expect(rangesOf(digest)).toEqual([`bytes=${2 * MIB}-`]);
  expect(rangesOf(big.layers[0]!.digest)).toEqual([]);
});

test.each([
  ["ignores the wish for a part", (): Response | undefined => undefined, 1],
  ["refuses parts", () => new Response("", { status: 416 }), 2],
] as const)("from a registry that %s a blob comes whole", async (_, answer, requests) => {
  const { digest, bytes } = big.layers[1]!;
  await interrupted(1, 2 * MIB);
  registry.override = ({ path, headers }) => {
    if (!path.endsWith(digest)) return undefined;
    return (headers.get("range") === null ? undefined : answer()) ?? new Response(bytes);
  };
  await instance.pull("big:v1");
  expect(rangesOf(digest)).toHaveLength(requests);
  expect(await instance.content.isIntact(digest)).toBe(true);
});

test.each([
  ["a part", 2 * MIB],
  ["all of it", undefined],
] as const)("what was kept and is damaged is thrown away: %s", async (_, size) => {
  const { digest, bytes } = big.layers[1]!;
  writeFileSync(fileOf(digest), Buffer.alloc(size ?? bytes.length, "damage"));
  await instance.pull("big:v1");
  expect(rangesOf(digest).at(-1)).toBeNull();
  expect(await instance.content.isIntact(digest)).toBe(true);
  expect(existsSync(fileOf(digest))).toBe(false);
});

test("what is wrong by its digest is not kept, and neither is what an image leaves that is removed", async () => {
  const { digest, bytes } = big.layers[1]!;
  const wrong = Buffer.from(bytes);
  wrong[wrong.length - 1]! ^= 1;
  registry.override = ({ path }) => (path.endsWith(digest) ? new Response(wrong) : undefined);
  await expect(instance.pull("big:v1")).rejects.toThrow("wrong digest");
  expect(partial()).toEqual([]);
  registry.override = undefined;
  const { id } = await instance.pull("big:v1");
  await instance.images.remove(id);
  await instance.settle();
  expect(partial()).toEqual([]);
});

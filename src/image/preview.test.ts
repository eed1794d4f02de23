// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { fakeImage, OCI_INDEX, OCI_MANIFEST } from "../../test/fixtures/fake-registry.ts";
import { appV1, appV2, startImageInstance } from "../../test/fixtures/image-instance.ts";
import { DeadlineExceededError } from "../errors.ts";
import { digestOf } from "../oci/digest.ts";

let instance: ReturnType<typeof startImageInstance>;
beforeEach(() => {
  instance = startImageInstance();
});
afterEach(() => instance[Symbol.asyncDispose]());

const preview = (name: string, signal?: AbortSignal) =>
  instance.images.preview(instance.named(name), { auth: undefined, ...(signal && { signal }) });

const bytesOf = (blobs: Iterable<Uint8Array>) => [...blobs].reduce((sum, { length }) => sum + length, 0);

test("an image is looked up by its manifests alone, and nothing is kept", async () => {
  const before = instance.state();
  expect(await preview("app:v1")).toEqual({
    digest: appV1.manifestDigest,
    downloadBytes: appV1.manifest.length + bytesOf(appV1.blobs.values()),
  });
  expect(instance.state()).toEqual(before);
  expect(instance.registry.count("/blobs/")).toBe(0);
});

test("what is here already is not counted", async () => {
  await instance.pull("app:v1");
  expect(await preview("app:v1")).toEqual({ digest: appV1.manifestDigest, downloadBytes: 0 });
  const shared = appV1.layers[0]!.digest;
  const missing = [...appV2.blobs].flatMap(([digest, blob]) => (digest === shared ? [] : [blob]));
  expect((await preview("app:v2")).downloadBytes).toBe(appV2.manifest.length + bytesOf(missing));
});

test("of an index the part for this machine counts", async () => {
  const other = fakeImage(["much longer than the other one".repeat(100)], { architecture: "riscv64" });
  const entry = (of: typeof appV1, architecture: string) => ({
    mediaType: OCI_MANIFEST,
    digest: of.manifestDigest,
    size: of.manifest.length,
    platform: { os: "linux", architecture },
  });
  const own = process.arch === "x64" ? "amd64" : process.arch;
  const manifests = [entry(other, "riscv64"), entry(appV1, own)];
  const bytes = new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }),
  );
  instance.registry.tags.set("multi:v1", { bytes, mediaType: OCI_INDEX });
  instance.registry.add("multi:own", appV1);
  expect(await preview("multi:v1")).toEqual({
    digest: digestOf(bytes),
    downloadBytes: bytes.length + appV1.manifest.length + bytesOf(appV1.blobs.values()),
  });
});

test("indexes of indexes have an end", async () => {
  const index = (digest: string, size: number) =>
    new TextEncoder().encode(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_INDEX,
        manifests: [{ mediaType: OCI_INDEX, digest, size }],
      }),
    );
  let bytes: Uint8Array = appV1.manifest;
  for (let depth = 0; depth < 4; depth++) {
    bytes = index(digestOf(bytes), bytes.length);
    instance.registry.tags.set(digestOf(bytes), { bytes, mediaType: OCI_INDEX });
  }
  await expect(preview(`app@${digestOf(bytes)}`)).rejects.toThrow("an index of indexes, more than 3 deep");
});

test("a failure tells of the image and the host; whoever waits no longer is told that", async () => {
  await expect(preview("nope:latest")).rejects.toThrow(
    `cannot look up ${instance.named("nope:latest")}: ${instance.registry.host} answered 404`,
  );
  instance.registry.override = () => new Promise(() => {});
  const limit = new AbortController();
  const waiting = preview("app:v1", limit.signal);
  limit.abort(new DeadlineExceededError("asking took too long"));
  await expect(waiting).rejects.toThrow(`cannot look up ${instance.named("app:v1")}: asking took too long`);
});

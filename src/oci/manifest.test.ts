// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { FailedPreconditionError, NotFoundError, UnimplementedError } from "../errors.ts";
import {
  hostPlatform,
  type ImageIndex,
  INDEX_TYPES,
  MANIFEST_TYPES,
  parseJson,
  parseManifest,
  selectManifest,
} from "./manifest.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest("c"), size: 2 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: digest("a"), size: 9 };
const bytes = (document: unknown) => new TextEncoder().encode(JSON.stringify(document));
const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPES[0], config, layers: [layer] };
const entry = (letter: string, platform?: object) => ({
  mediaType: MANIFEST_TYPES[0],
  digest: digest(letter),
  size: 1,
  ...(platform === undefined ? {} : { platform }),
});
const index = (...manifests: object[]) =>
  parseManifest(bytes({ schemaVersion: 2, mediaType: INDEX_TYPES[0], manifests })) as ImageIndex;
const AMD64 = { os: "linux", architecture: "amd64" };
const ARM64 = { os: "linux", architecture: "arm64" };

test("an OCI manifest and a Docker manifest are read", () => {
  expect(parseManifest(bytes(manifest))).toMatchObject({ kind: "manifest", layers: [layer] });
  const docker = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPES[1],
    config: { ...config, mediaType: "application/vnd.docker.container.image.v1+json" },
    layers: [{ ...layer, mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" }],
  };
  expect(parseManifest(bytes(docker), MANIFEST_TYPES[1]).mediaType).toBe(MANIFEST_TYPES[1]);
});

test("a document without a media type takes the announced one", () => {
  const { mediaType: _, ...bare } = manifest;
  expect(parseManifest(bytes(bare), MANIFEST_TYPES[1]).mediaType).toBe(MANIFEST_TYPES[1]);
  expect(parseManifest(bytes(bare), "application/json").mediaType).toBe(MANIFEST_TYPES[0]);
});

test.each([
  ["both an index and an image", { ...manifest, manifests: [] }, undefined, "both an index"],
  ["another type than announced", manifest, MANIFEST_TYPES[1], "was announced as"],
  [
    "an image that calls itself an index",
    { ...manifest, mediaType: INDEX_TYPES[0] },
    undefined,
    "calls itself",
  ],
  ["an image announced as an index", { ...manifest, mediaType: undefined }, INDEX_TYPES[0], "calls itself"],
  ["neither of both", { schemaVersion: 2 }, undefined, "neither manifests nor"],
  ["a negative size", { ...manifest, layers: [{ ...layer, size: -1 }] }, undefined, "layers.0.size"],
  [
    "a size that is no integer",
    { ...manifest, layers: [{ ...layer, size: 1.5 }] },
    undefined,
    "layers.0.size",
  ],
  [
    "a digest that is a path",
    { ...manifest, config: { ...config, digest: "../x" } },
    undefined,
    "config.digest",
  ],
  [
    "a chart",
    { ...manifest, config: { ...config, mediaType: "application/vnd.cncf.helm" } },
    undefined,
    "artifact",
  ],
  [
    "an unknown layer",
    { ...manifest, layers: [{ ...layer, mediaType: "text/x" }] },
    undefined,
    "unknown type",
  ],
  ["an array", [], undefined, "invalid"],
])("%s is refused", (_, document, announced, problem) => {
  expect(() => parseManifest(bytes(document), announced)).toThrow(problem);
  expect(() => parseManifest(bytes(document), announced)).toThrow(FailedPreconditionError);
});

test("JSON nested beyond any use is refused, brackets in text are text", () => {
  const parse = (text: string) => parseJson(Buffer.from(text), "it");
  expect(parse(`${"[".repeat(64)}${"]".repeat(64)}`)).toBeArray();
  expect(() => parse(`${"[".repeat(65)}${"]".repeat(65)}`)).toThrow(
    "it is JSON nested deeper than 64 levels",
  );
  expect(() => parse('{"a":'.repeat(100_000))).toThrow("nested deeper");
  const text = `${"[{".repeat(100)}\\"${"[".repeat(100)}`;
  expect(parse(JSON.stringify([text, text]))).toEqual([text, text]);
});

test("what is not JSON or not UTF-8 is refused", () => {
  expect(() => parseManifest(new TextEncoder().encode("<html>"))).toThrow("is not JSON");
  expect(() => parseManifest(new Uint8Array([0x22, 0xff, 0x22]))).toThrow("is not JSON");
});

test("schema 1 is refused by name, whether announced or found", () => {
  const type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
  for (const [document, announced] of [
    [{ schemaVersion: 1, fsLayers: [] }, undefined],
    [{ schemaVersion: 2, mediaType: type }, undefined],
    [{ schemaVersion: 2 }, type],
  ] as const) {
    expect(() => parseManifest(bytes(document), announced)).toThrow("schema 1");
    expect(() => parseManifest(bytes(document), announced)).toThrow(UnimplementedError);
  }
});

test("the baseline variant of the platform is selected, whatever the order", () => {
  const list = index(
    entry("1", { os: "windows", architecture: "amd64" }),
    entry("2", { os: "linux", architecture: "arm64", variant: "v8" }),
    entry("3", { os: "linux", architecture: "amd64", variant: "v3" }),
    entry("4", { os: "linux", architecture: "amd64" }),
    entry("5", { os: "unknown", architecture: "unknown" }),
  );
  expect(selectManifest(list, AMD64).digest).toBe(digest("4"));
  expect(selectManifest(list, ARM64).digest).toBe(digest("2"));
  const newer = entry("6", { os: "linux", architecture: "arm64", variant: "v9" });
  expect(selectManifest(index(newer, ...list.manifests), ARM64).digest).toBe(digest("2"));
  expect(selectManifest(index(newer), ARM64).digest).toBe(digest("6"));
});

test("the platform of podrt is the machine's, as Go spells it", () => {
  expect(hostPlatform("x86_64")).toEqual(AMD64);
  expect(hostPlatform("aarch64")).toEqual(ARM64);
});

test("a lone entry that names no platform is selected", () => {
  expect(selectManifest(index(entry("7")), AMD64).digest).toBe(digest("7"));
});

test("a missing platform is an error that lists what there is", () => {
  const list = index(entry("1", { os: "linux", architecture: "s390x" }), entry("2"));
  expect(() => selectManifest(list, AMD64)).toThrow("no variant for linux/amd64 (it offers linux/s390x)");
  expect(() => selectManifest(index(), AMD64)).toThrow(NotFoundError);
  // Programs of 32 bits are for another platform.
  const narrow = index(entry("1", { os: "linux", architecture: "arm", variant: "v7" }));
  expect(() => selectManifest(narrow, ARM64)).toThrow("for linux/arm64 (it offers linux/arm/v7)");
});

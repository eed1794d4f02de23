// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError } from "../errors.ts";
import { digestOf } from "../oci/digest.ts";
import { CONFIG_LIMIT_BYTES, LAYERS_LIMIT, parseImageSpec } from "../oci/image-spec.ts";
import { MANIFEST_LIMIT_BYTES, MANIFEST_TYPES } from "../oci/manifest.ts";
import type { ContentStore } from "./content-store.ts";
import { detectCompression } from "./decompress.ts";
import { type FollowLayers, type ImportableImage, type Ingested, readDocument } from "./import-layout.ts";
import { counting, type ImageSource } from "./import-source.ts";

const MANIFEST_FILE = "manifest.json";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPES = {
  none: "application/vnd.oci.image.layer.v1.tar",
  gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;
const MAGIC_BYTES = 16;
const IMAGES_LIMIT = 1024;

const shortText = v.pipe(v.string(), v.maxLength(4096));
const imageSchema = v.object({
  Config: shortText,
  RepoTags: v.nullish(v.pipe(v.array(shortText), v.maxLength(IMAGES_LIMIT)), []),
  Layers: v.nullish(v.pipe(v.array(shortText), v.maxLength(LAYERS_LIMIT)), []),
});
const manifestSchema = v.pipe(
  v.array(imageSchema),
  v.minLength(1, "lists no image"),
  v.maxLength(IMAGES_LIMIT),
);

type DockerImage = v.InferOutput<typeof imageSchema>;

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** True for what has the file that `docker save` writes. */
export async function isDockerArchive(source: ImageSource): Promise<boolean> {
  return (await source.sizeBytes(MANIFEST_FILE)) !== undefined;
}

/** The images in what `docker save` (or podman, skopeo, buildah as docker-archive) wrote. */
export async function readDockerArchive(
  source: ImageSource,
  content: ContentStore,
): Promise<ImportableImage[]> {
  const images = await readDocument(source, MANIFEST_FILE, MANIFEST_LIMIT_BYTES, manifestSchema);
  return images.map((image) => ({
    names: { references: image.RepoTags ?? [] },
    hasRegistryDigest: false,
    ingest: (signal, follow) => ingestImage(source, content, image, signal, follow),
  }));
}

/** Such archives have no manifest: an OCI one is made that says the same. */
async function ingestImage(
  source: ImageSource,
  content: ContentStore,
  image: DockerImage,
  signal: AbortSignal,
  follow: FollowLayers,
): Promise<Ingested> {
  const configBytes = await source.read(image.Config, CONFIG_LIMIT_BYTES + 1);
  if (configBytes.length > CONFIG_LIMIT_BYTES) {
    throw new FailedPreconditionError(`its ${image.Config} is longer than ${CONFIG_LIMIT_BYTES} bytes`);
  }
  const { diff_ids: diffIds } = parseImageSpec(configBytes).rootfs;
  const names = image.Layers ?? [];
  if (names.length !== diffIds.length) {
    throw new FailedPreconditionError(
      `its ${MANIFEST_FILE} lists ${names.length} layers where ${image.Config} has ${diffIds.length}`,
    );
  }
  const config = await ingestBytes(content, CONFIG_TYPE, configBytes, digestInName(image.Config), signal);
  const sizes = await Promise.all(names.map((name) => source.sizeBytes(name)));
  // Their digests are not known before they have been read.
  const progress = follow(sizes.map((size = 0, position) => ({ digest: diffIds[position] as string, size })));
  const layers: Blob[] = [];
  for (const [position, name] of names.entries()) {
    const onBytes = (doneBytes: number) => progress.bytes(position, { doneBytes, keptBytes: 0 });
    layers.push(await ingestLayer(source, content, name, diffIds[position] as string, signal, onBytes));
    progress.fetched(position);
  }
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPES[0], config, layers };
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  const { digest } = await ingestBytes(content, MANIFEST_TYPES[0], bytes, digestOf(bytes), signal);
  // The manifest has the digests of all layers, so they have to be read before it.
  return { digest, arrivals: [] };
}

async function ingestLayer(
  source: ImageSource,
  content: ContentStore,
  name: string,
  diffId: string,
  signal: AbortSignal,
  onBytes: (doneBytes: number) => void,
): Promise<Blob> {
  const compression = detectCompression(await source.read(name, MAGIC_BYTES));
  const mediaType = LAYER_TYPES[compression];
  const size = (await source.sizeBytes(name)) ?? 0;
  // An uncompressed layer's digest is its diff id; a compressed one is compared when it is unpacked.
  const digest = compression === "none" ? diffId : digestInName(name);
  if (digest !== undefined && content.has(digest) && content.sizeBytes(digest) === size) {
    return { mediaType, digest, size };
  }
  const expected = digest === undefined ? { sizeBytes: size } : { digest, sizeBytes: size };
  const ingested = await content.ingest(counting(source.stream(name), onBytes), expected, signal);
  return { mediaType, digest: ingested.digest, size };
}

async function ingestBytes(
  content: ContentStore,
  mediaType: string,
  bytes: Uint8Array,
  digest: string | undefined,
  signal: AbortSignal,
): Promise<Blob> {
  const chunks = async function* () {
    yield bytes;
  };
  const expected = digest === undefined ? { sizeBytes: bytes.length } : { digest, sizeBytes: bytes.length };
  const ingested = await content.ingest(chunks(), expected, signal);
  return { mediaType, digest: ingested.digest, size: bytes.length };
}

/** `HEX.json`, `HEX.tar` and `blobs/sha256/HEX` are called after their content; `HEX/layer.tar` is not. */
function digestInName(name: string): string | undefined {
  const hex = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  return hex && `sha256:${hex}`;
}

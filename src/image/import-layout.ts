// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError, NotFoundError, UnimplementedError } from "../errors.ts";
import { isDigest } from "../oci/digest.ts";
import {
  hostPlatform,
  INDEX_TYPES,
  MANIFEST_LIMIT_BYTES,
  MANIFEST_TYPES,
  parseJson,
  problemOf,
  selectManifest,
} from "../oci/manifest.ts";
import { checkSize, planImage } from "./commit.ts";
import type { ContentStore } from "./content-store.ts";
import type { StatedNames } from "./import-names.ts";
import { counting, type ImageSource } from "./import-source.ts";
import type { ProgressTracker } from "./pull-progress.ts";

/** An image of an archive, not yet taken in. */
export interface ImportableImage {
  readonly names: StatedNames;
  /** True when its digest is one that a registry would show too. */
  readonly hasRegistryDigest: boolean;
  /** Puts its documents into the content store, and begins with the blobs of its layers. */
  ingest(signal: AbortSignal, follow: FollowLayers): Promise<Ingested>;
}

/** An image whose documents are in the content store. */
export interface Ingested {
  /** Of its manifest or index. */
  readonly digest: string;
  /** For each layer, from the bottom up: resolves when its blob is in the store; empty where all are. */
  readonly arrivals: readonly Promise<void>[];
}

/** Called once the layers are known; what it answers is told of each. */
export type FollowLayers = (
  layers: readonly { readonly digest: string; readonly size: number }[],
) => ProgressTracker;

const INDEX_FILE = "index.json";
const LAYOUT_FILE = "oci-layout";
const LAYOUT_LIMIT_BYTES = 4096;
const REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name";
const CONTAINERD_ANNOTATION = "io.containerd.image.name";

const layoutSchema = v.object({ imageLayoutVersion: v.string() });
const shortText = v.pipe(v.string(), v.maxLength(1024));
const descriptorSchema = v.object({
  mediaType: v.optional(shortText, MANIFEST_TYPES[0]),
  digest: v.pipe(v.string(), v.check(isDigest, "is no digest")),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  annotations: v.optional(v.record(shortText, v.string()), {}),
  platform: v.optional(
    v.object({ os: shortText, architecture: shortText, variant: v.optional(shortText, "") }),
  ),
});
const indexSchema = v.object({
  schemaVersion: v.literal(2, "is not 2"),
  manifests: v.pipe(v.array(descriptorSchema), v.maxLength(1024)),
});

type LayoutDescriptor = v.InferOutput<typeof descriptorSchema>;

/** True for what has the files of an OCI image layout (image-spec, image-layout.md). */
export async function isLayout(source: ImageSource): Promise<boolean> {
  const sizes = await Promise.all([LAYOUT_FILE, INDEX_FILE].map((name) => source.sizeBytes(name)));
  return sizes.every((size) => size !== undefined);
}

/** The images that a layout's index lists; one that lists a single image's platforms is one image. */
export async function readLayout(source: ImageSource, content: ContentStore): Promise<ImportableImage[]> {
  const { imageLayoutVersion } = await readDocument(source, LAYOUT_FILE, LAYOUT_LIMIT_BYTES, layoutSchema);
  if (!imageLayoutVersion.startsWith("1.")) {
    throw new UnimplementedError(
      `its OCI layout has the version ${imageLayoutVersion}; podrt reads version 1`,
    );
  }
  const index = await readDocument(source, INDEX_FILE, MANIFEST_LIMIT_BYTES, indexSchema);
  const known: readonly string[] = [...INDEX_TYPES, ...MANIFEST_TYPES];
  const images = index.manifests.filter(({ mediaType }) => known.includes(mediaType));
  if (images.length === 0) throw new FailedPreconditionError(`its ${INDEX_FILE} lists no image`);
  const chosen = isOneImage(images)
    ? [selectManifest({ kind: "index", mediaType: INDEX_TYPES[0], manifests: images }, hostPlatform())]
    : images;
  return chosen.map((descriptor) => {
    const listed = images.find(({ digest }) => digest === descriptor.digest) as LayoutDescriptor;
    return {
      names: namesIn(listed.annotations),
      hasRegistryDigest: true,
      ingest: (signal, follow) => ingestImage(source, content, listed, signal, follow),
    };
  });
}

/** Several entries without a name, each for a platform of its own. */
function isOneImage(images: readonly LayoutDescriptor[]): boolean {
  const areUnnamed = images.every(({ annotations }) => {
    const { references, tag } = namesIn(annotations);
    return references.length === 0 && tag === undefined;
  });
  return images.length > 1 && areUnnamed && images.every(({ platform }) => platform !== undefined);
}

function namesIn(annotations: Readonly<Record<string, string>>): StatedNames {
  const full = annotations[CONTAINERD_ANNOTATION];
  const reference = annotations[REFERENCE_ANNOTATION];
  if (full !== undefined) return { references: [full] };
  if (reference === undefined || reference === "") return { references: [] };
  return /[/:@]/.test(reference) ? { references: [reference] } : { references: [], tag: reference };
}

/** Takes in the part of an image that is for this platform. */
async function ingestImage(
  source: ImageSource,
  content: ContentStore,
  descriptor: LayoutDescriptor,
  signal: AbortSignal,
  follow: FollowLayers,
): Promise<Ingested> {
  const ensure = (blob: { readonly digest: string; readonly size: number }) =>
    ingestBlob(source, content, blob, signal);
  await ensure(descriptor);
  const { digest, mediaType } = descriptor;
  const plan = await planImage(content, { digest, mediaType }, hostPlatform(), ensure);
  const progress = follow(plan.layerBlobs);
  let last = Promise.resolve();
  const arrivals = plan.layerBlobs.map((layer, position) => {
    last = last.then(async () => {
      signal.throwIfAborted();
      await ingestBlob(source, content, layer, signal, (doneBytes) =>
        progress.bytes(position, { doneBytes, keptBytes: 0 }),
      );
      progress.fetched(position);
    });
    // Whoever unpacks it hears of a failure; so does everybody above.
    last.catch(() => {});
    return last;
  });
  return { digest, arrivals };
}

async function ingestBlob(
  source: ImageSource,
  content: ContentStore,
  { digest, size }: { readonly digest: string; readonly size: number },
  signal: AbortSignal,
  onBytes: (doneBytes: number) => void = () => {},
): Promise<void> {
  if (content.has(digest)) {
    checkSize(digest, content.sizeBytes(digest), size);
    return;
  }
  const name = `blobs/${digest.replace(":", "/")}`;
  if ((await source.sizeBytes(name)) === undefined) throw new NotFoundError(`blob ${name} is missing in it`);
  await content.ingest(counting(source.stream(name), onBytes), { digest, sizeBytes: size }, signal);
}

/** A JSON file of the archive, checked; FailedPreconditionError names it and what is wrong. */
export async function readDocument<T extends v.GenericSchema>(
  source: ImageSource,
  name: string,
  limitBytes: number,
  schema: T,
): Promise<v.InferOutput<T>> {
  const bytes = await source.read(name, limitBytes + 1);
  if (bytes.length > limitBytes) {
    throw new FailedPreconditionError(`its ${name} is longer than ${limitBytes} bytes`);
  }
  const result = v.safeParse(schema, parseJson(bytes, `its ${name}`), { abortEarly: true });
  if (!result.success) throw new FailedPreconditionError(`its ${name}: ${problemOf(result.issues[0])}`);
  return result.output;
}

// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { nodeOf } from "../gc/collect.ts";
import { digestOf } from "../oci/digest.ts";
import { findManifest, type ImageDocument } from "../oci/find-manifest.ts";
import { CONFIG_LIMIT_BYTES, type ImageSpec, LAYERS_LIMIT, parseImageSpec } from "../oci/image-spec.ts";
import { type Descriptor, MANIFEST_LIMIT_BYTES, type Platform } from "../oci/manifest.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { announceLayers } from "./awaited-layers.ts";
import type { ContentStore } from "./content-store.ts";
import type { Unpacker, UnpackRequest } from "./unpack.ts";

export interface ImageLayer {
  /** Of the blob as it is transferred. */
  readonly digest: string;
  readonly mediaType: string;
  /** Of the uncompressed tar. */
  readonly diffId: string;
  /** Of this layer and all below it (image-spec, config.md, Layer ChainID). */
  readonly chainId: string;
}

/** What an image for one platform consists of, found by reading its documents. */
export interface ImagePlan {
  /** Digest of the configuration: the image's id. */
  readonly id: string;
  /** What the reference resolved to: an index, or the manifest itself. */
  readonly rootDigest: string;
  readonly manifestDigest: string;
  readonly spec: ImageSpec;
  /** Bottom first. */
  readonly layers: readonly ImageLayer[];
  readonly layerBlobs: readonly Descriptor[];
  /** Every blob by digest: documents, configuration, layers. */
  readonly blobs: readonly string[];
  readonly sizeBytes: number;
}

/** Sees to it that the blob is in the content store, by download or by insisting that it is. */
export type Ensure = (
  blob: Pick<Descriptor, "digest" | "size">,
  role: "manifest" | "config" | "layer",
) => Promise<void>;

const JOINS_LIMIT = 3;
const LAYER_LIMIT_BYTES = 128 * 2 ** 30;

/**
 * Reads the documents of the image at `root`, whose own blob is in the store, and calls `ensure` for
 * each further document before reading it, but not for the layers. FailedPreconditionError for
 * documents that contradict each other or the platform.
 */
export async function planImage(
  content: ContentStore,
  root: { readonly digest: string; readonly mediaType?: string | undefined },
  platform: Platform,
  ensure: Ensure,
): Promise<ImagePlan> {
  const read = async ({ digest, mediaType }: typeof root): Promise<ImageDocument> => ({
    digest,
    mediaType,
    bytes: await content.read(digest, MANIFEST_LIMIT_BYTES),
  });
  const { manifest, documents } = await findManifest(await read(root), platform, async (named) => {
    if (named.size > MANIFEST_LIMIT_BYTES) throw overLimit("the manifest", named, MANIFEST_LIMIT_BYTES);
    await ensure(named, "manifest");
    return read(named);
  });
  const { config, layers } = manifest;
  if (layers.length > LAYERS_LIMIT) {
    throw new FailedPreconditionError(
      `the image has ${layers.length} layers where ${LAYERS_LIMIT} are the limit`,
    );
  }
  const tooLarge = layers.find(({ size }) => size > LAYER_LIMIT_BYTES);
  if (tooLarge !== undefined) throw overLimit(`layer ${tooLarge.digest}`, tooLarge, LAYER_LIMIT_BYTES);
  if (config.size > CONFIG_LIMIT_BYTES)
    throw overLimit("the image configuration", config, CONFIG_LIMIT_BYTES);
  await ensure(config, "config");
  const spec = parseImageSpec(await content.read(config.digest, CONFIG_LIMIT_BYTES));
  checkPlatform(spec, platform);
  const sizes = new Map([
    ...documents.map(({ digest, bytes }) => [digest, bytes.length] as const),
    ...[config, ...layers].map(({ digest, size }) => [digest, size] as const),
  ]);
  return {
    id: config.digest,
    rootDigest: root.digest,
    manifestDigest: documents.at(-1)?.digest ?? root.digest,
    spec,
    layers: chain(layers, spec),
    layerBlobs: layers,
    blobs: [...sizes.keys()],
    sizeBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
  };
}

/** Insists that a blob is there already, in the size announced. */
export function requirePresent(content: ContentStore): Ensure {
  return async ({ digest, size }) => {
    if (!content.has(digest)) throw new NotFoundError(`blob ${digest} is missing`);
    checkSize(digest, content.sizeBytes(digest), size);
  };
}

/** A descriptor that is right about the digest and wrong about the size is a trap for whoever trusts the size. */
export function checkSize(digest: string, actualBytes: number, announcedBytes: number): void {
  if (actualBytes === announcedBytes) return;
  throw new FailedPreconditionError(
    `blob ${digest} has ${actualBytes} bytes where the manifest says ${announcedBytes}`,
  );
}

/**
 * Unpacks the layer at `position` of `layers` unless that has been done, and compares what came out
 * with the image's configuration. What a layer leaves unsaid about its directories is as those below it have it;
 * they are there, or are about to be once `below` resolves: then this one is unpacked meanwhile, recorded after
 * them, and fails when they do.
 */
export async function unpackLayer(
  deps: { readonly content: ContentStore; readonly snapshotter: Snapshotter; readonly unpacker: Unpacker },
  layers: readonly ImageLayer[],
  position: number,
  signal?: AbortSignal,
  below: Promise<void> = Promise.resolve(),
): Promise<void> {
  const { content, snapshotter, unpacker } = deps;
  const layer = layers[position] as ImageLayer;
  const chainsBelow = layers.slice(0, position).map(({ chainId }) => chainId);
  const lowerDirs = () => snapshotter.layerDirs(chainsBelow).toReversed();
  for (let joined = 0; !snapshotter.hasLayer(layer.chainId); joined++) {
    let isOwnWork = false;
    try {
      await snapshotter.commitLayer(layer.chainId, async (targetDir) => {
        isOwnWork = true;
        const blob = { blobPath: content.path(layer.digest), mediaType: layer.mediaType, targetDir };
        const unpack = (lower: Pick<UnpackRequest, "lowerDirs" | "awaitedLower">) =>
          unpacker.unpack({ ...blob, ...lower }, signal);
        const { diffId, sizeBytes, inodes } = chainsBelow.every(snapshotter.hasLayer)
          ? await unpack({ lowerDirs: lowerDirs() })
          : await whileAnnouncing(below.then(lowerDirs), signal, (awaitedLower) => unpack({ awaitedLower }));
        if (diffId !== layer.diffId) {
          throw new FailedPreconditionError(
            `layer ${layer.digest} unpacks to ${diffId} where the image configuration says ${layer.diffId}`,
          );
        }
        await below;
        return { sizeBytes, inodes };
      });
      return;
    } catch (error) {
      signal?.throwIfAborted();
      // What another pull failed at, perhaps because its caller left, is tried again on our own account.
      if (isOwnWork || joined === JOINS_LIMIT) throw error;
    }
  }
}

/** Does work whose thread hears of the layers below as soon as `lowerDirs` are known, or will not be. */
async function whileAnnouncing<T>(
  lowerDirs: Promise<readonly string[]>,
  signal: AbortSignal | undefined,
  work: (shared: SharedArrayBuffer) => Promise<T>,
): Promise<T> {
  const announcement = announceLayers();
  lowerDirs.then(announcement.ready, announcement.fail);
  signal?.addEventListener("abort", announcement.fail);
  if (signal?.aborted) announcement.fail();
  try {
    return await work(announcement.shared);
  } finally {
    signal?.removeEventListener("abort", announcement.fail);
  }
}

/** The nodes of the collector's graph that an image consists of. */
export function nodesOf(plan: ImagePlan): string[] {
  return [
    ...plan.blobs.map((digest) => nodeOf("blob", digest)),
    ...plan.layers.map(({ chainId }) => nodeOf("layer", chainId)),
  ];
}

function checkPlatform(spec: ImageSpec, platform: Platform): void {
  const isOther = (actual: string, wanted: string) => actual !== "" && actual !== wanted;
  if (isOther(spec.os, platform.os) || isOther(spec.architecture, platform.architecture)) {
    throw new NotFoundError(
      `the image is for ${spec.os}/${spec.architecture}, not for ${platform.os}/${platform.architecture}`,
    );
  }
}

function chain(layers: readonly Descriptor[], spec: ImageSpec): ImageLayer[] {
  const diffIds = spec.rootfs.diff_ids;
  if (layers.length !== diffIds.length) {
    throw new FailedPreconditionError(
      `the manifest has ${layers.length} layers where the image configuration has ${diffIds.length}`,
    );
  }
  let chainId = "";
  return layers.map(({ digest, mediaType }, position) => {
    const diffId = diffIds[position] as string;
    chainId = chainId === "" ? diffId : digestOf(`${chainId} ${diffId}`);
    return { digest, mediaType, diffId, chainId };
  });
}

function overLimit(what: string, { size }: { size: number }, limitBytes: number): FailedPreconditionError {
  return new FailedPreconditionError(`${what} has ${size} bytes where ${limitBytes} are the limit`);
}

// SPDX-License-Identifier: Apache-2.0

import { messageOf } from "../errors.ts";
import { twice } from "../lib/twice.ts";
import { MANIFEST_LIMIT_BYTES, parseManifest } from "../oci/manifest.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { ImageLayer } from "./commit.ts";
import type { ContentStore } from "./content-store.ts";
import type { ImageRecord } from "./image-records.ts";

/*
 * Finds what has become of an image on disk, as cheaply as that can be done: documents are hashed, layers' blobs are
 * looked at for their size, unpacked layers for the names, sizes and times in them. Content that a disk has changed
 * without changing those is not noticed; a blob's is when it is unpacked.
 */

interface Stores {
  readonly content: ContentStore;
  readonly snapshotter: Snapshotter;
}

/** What is wrong with an image, one text each; what is damaged has been taken out of the stores, so that a pull brings it back. */
export async function takeOutDamage(
  record: ImageRecord,
  { content, snapshotter }: Stores,
): Promise<string[]> {
  return [...(await takeOutBlobs(record, content)), ...(await takeOutLayers(record.layers, snapshotter))];
}

/** The same for unpacked layers; one that is not unpacked is no damage of theirs. */
export async function takeOutLayers(
  layers: readonly ImageLayer[],
  snapshotter: Snapshotter,
): Promise<string[]> {
  const problems: string[] = [];
  for (const { chainId } of layers) {
    const problem = await snapshotter.checkLayer(chainId);
    if (problem === undefined) continue;
    problems.push(`layer ${chainId}: ${problem}`);
    await snapshotter.discardLayer(chainId);
  }
  return problems;
}

async function takeOutBlobs(record: ImageRecord, content: ContentStore): Promise<string[]> {
  const layers = new Set(record.layers.map(({ digest }) => digest));
  const problems: string[] = [];
  const damaged = async (digest: string, problem: string) => {
    problems.push(`blob ${digest}: ${problem}`);
    await content.remove(digest);
  };
  for (const digest of record.blobs) {
    if (!content.has(digest)) problems.push(`blob ${digest}: it is missing`);
    else if (!layers.has(digest) && content.sizeBytes(digest) <= MANIFEST_LIMIT_BYTES) {
      await twice(() => content.read(digest, MANIFEST_LIMIT_BYTES)).catch((error) =>
        damaged(digest, messageOf(error)),
      );
    }
  }
  for (const [digest, sizeBytes] of await layerSizes(record, content)) {
    if (!content.has(digest) || content.sizeBytes(digest) === sizeBytes) continue;
    await damaged(digest, `it has ${content.sizeBytes(digest)} bytes instead of ${sizeBytes}`);
  }
  return problems;
}

/** Sizes of the layers' blobs, as the manifest has them; none where that is missing. */
async function layerSizes(
  { manifestDigest }: ImageRecord,
  content: ContentStore,
): Promise<[string, number][]> {
  if (!content.has(manifestDigest)) return [];
  const manifest = parseManifest(await content.read(manifestDigest, MANIFEST_LIMIT_BYTES));
  return manifest.kind === "manifest" ? manifest.layers.map(({ digest, size }) => [digest, size]) : [];
}

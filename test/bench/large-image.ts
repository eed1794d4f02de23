// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packagedBusybox } from "../fixtures/images/busybox.ts";
import type { Descriptor, ImageRecipe, Layer } from "../fixtures/images/layout.ts";
import { buildDir } from "../fixtures/images/packages.ts";
import { type ImageSet, prepareImages } from "../fixtures/images/prepare.ts";
import type { TreeEntry } from "../fixtures/images/tree.ts";
import { outputOf } from "../integration/harness/command.ts";

/*
 * Images for measuring pulls, the same bytes on every machine: one of the size of a real application's, whose files
 * are as many, as long and as compressible as those of one, and four small ones that share layers.
 */

/** In the names of images: their registry itself, and the same behind something that counts. */
export const LARGE_HOST = "large.test";
export const COUNTED_HOST = "counted.test";
export const LARGE_IMAGE = "bench/large:latest";
export const SHARING_IMAGES = [1, 2, 3, 4].map((number) => `bench/sharing-${number}:latest`);

const layerCount = 5;
const filesPerLayer = 4_800;
/** Of a layer: 141 MB, so that all are 705 MB. */
const layerBytes = 141_000_000;
/** How much of a file cannot be compressed; the rest is text. */
const randomPart = 0.05;

export const benchImages: ImageSet = {
  dir: join(buildDir, "bench-images"),
  recipes: () => [largeImage(), ...sharingImages()],
  // Changes with the recipe.
  programs: () => [import.meta.filename, packagedBusybox()],
};

/** The large image as an OCI archive, which is made when it is not there yet. */
export async function largeArchive(): Promise<string> {
  const { layoutDir } = await prepareImages(benchImages);
  const archive = join(benchImages.dir, "large.tar");
  if (existsSync(archive)) return archive;
  const read = (path: string) => readFileSync(join(layoutDir, path), "utf8");
  const { manifests, ...rest } = JSON.parse(read("index.json")) as { manifests: Descriptor[] };
  const name = "org.opencontainers.image.ref.name";
  const image = manifests.find(({ annotations }) => annotations?.[name] === LARGE_IMAGE)!;
  const pathOf = ({ digest }: Descriptor) => `blobs/${digest.replace(":", "/")}`;
  const { config, layers } = JSON.parse(read(pathOf(image))) as { config: Descriptor; layers: Descriptor[] };
  const named = { ...image, annotations: { [name]: `${LARGE_HOST}/${LARGE_IMAGE}` } };
  const indexDir = mkdtempSync(join(benchImages.dir, "index-"));
  writeFileSync(join(indexDir, "index.json"), JSON.stringify({ ...rest, manifests: [named] }));
  const blobs = [image, config, ...layers].map(pathOf);
  const index = ["-C", indexDir, "index.json", "-C", layoutDir, "oci-layout", ...blobs];
  await outputOf("tar", ["-cf", `${archive}.part`, ...index]);
  renameSync(`${archive}.part`, archive);
  rmSync(indexDir, { recursive: true });
  return archive;
}

function largeImage(): ImageRecipe {
  const layers = Array.from({ length: layerCount }, (_, index) => ({
    compression: "gzip" as const,
    entries: filesOf(`large-${index}`, filesPerLayer, layerBytes, index + 1),
  }));
  return { names: [LARGE_IMAGE], layers, run: { Cmd: ["true"] } };
}

/** Each has two layers that all have and one of its own. */
function sharingImages(): ImageRecipe[] {
  const layer = (name: string, seed: number): Layer => ({
    compression: "gzip",
    entries: filesOf(name, 500, 20_000_000, seed),
  });
  const shared = [layer("shared-1", 11), layer("shared-2", 12)];
  return SHARING_IMAGES.map((name, index) => ({
    names: [name],
    layers: [...shared, layer(`own-${index}`, 21 + index)],
    run: { Cmd: ["true"] },
  }));
}

/** Most files are small and few are large: lengths fall as one over their rank, as they do in file systems. */
function filesOf(name: string, count: number, bytes: number, seed: number): TreeEntry[] {
  const next = generator(seed);
  const weights = Array.from({ length: count }, (_, rank) => 1 / (rank + 1));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const text = textOf(next);
  const random = new Uint8Array(1 << 20).map(() => next() >>> 24);
  return weights.map((weight, rank): TreeEntry => {
    const length = Math.round((weight / sum) * bytes);
    const directory = `usr/lib/${name}/${rank % 40}/${rank % 7}`;
    return {
      type: "file",
      path: `${directory}/file-${rank}`,
      content: contentOf(length, text, random, next),
    };
  });
}

/** Pieces of text and of noise in turn, each from a place that the generator chooses. */
function contentOf(length: number, text: Uint8Array, random: Uint8Array, next: () => number): Uint8Array {
  const content = new Uint8Array(length);
  const pieceBytes = 4096;
  for (let at = 0; at < length; at += pieceBytes) {
    const noise = Math.min(Math.round(pieceBytes * randomPart), length - at);
    const piece = Math.min(pieceBytes, length - at);
    const textAt = next() % (text.length - pieceBytes);
    content.set(text.subarray(textAt, textAt + piece), at);
    const noiseAt = next() % (random.length - pieceBytes);
    content.set(random.subarray(noiseAt, noiseAt + noise), at);
  }
  return content;
}

/** Words of a made-up language, about as compressible as source text. */
function textOf(next: () => number): Uint8Array {
  const words = Array.from({ length: 400 }, () => {
    const letters = Array.from({ length: 3 + (next() % 8) }, () => String.fromCharCode(97 + (next() % 26)));
    return letters.join("");
  });
  const parts = Array.from(
    { length: 120_000 },
    () => words[Math.min(next() % words.length, next() % words.length)],
  );
  return Buffer.from(parts.join(" "));
}

/** xorshift32: 32 bits at a time, the same everywhere. */
function generator(seed: number): () => number {
  let state = seed * 0x9e3779b1 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

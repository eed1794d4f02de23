// SPDX-License-Identifier: Apache-2.0
import { stat } from "node:fs/promises";
import { FailedPreconditionError, NotFoundError, PodrtError } from "../errors.ts";
import { storageError } from "../lib/storage-error.ts";
import { parseReference, repositoryOf } from "../oci/reference.ts";
import type { Paths } from "../paths.ts";
import type { ContentStore } from "./content-store.ts";
import type { ImageRecord, Images } from "./images.ts";
import { openArchiveSource } from "./import-archive.ts";
import { isDockerArchive, readDockerArchive } from "./import-docker.ts";
import { type ImportableImage, isLayout, readLayout } from "./import-layout.ts";
import { chooseNames } from "./import-names.ts";
import { type ImageSource, openDirectorySource } from "./import-source.ts";
import { nothingYet, type ProgressTracker, type PullProgress, trackProgress } from "./pull-progress.ts";

export interface ImportDeps {
  readonly content: ContentStore;
  readonly images: Pick<Images, "commit" | "hold">;
  readonly paths: Pick<Paths, "ingestDir">;
}

export interface ImportOptions {
  /** What to call the image, or, without a tag, the repository of all images in the archive. */
  readonly name?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Hears of one image after the other. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

/**
 * Takes in the images at `path`: the directory of an OCI layout, an archive of one, or what
 * `docker save` wrote, plain or compressed with gzip or zstd. Every digest is verified. The errors name
 * the path and what is wrong with it; images before the failing one stay.
 */
export async function importImage(
  deps: ImportDeps,
  path: string,
  options: ImportOptions = {},
): Promise<ImageRecord[]> {
  const { signal, onProgress = () => {} } = options;
  try {
    await using source = await openSource(path, deps.paths.ingestDir, signal, onProgress);
    const importable = await readImages(source, deps.content);
    const names = chooseNames(
      importable.map((image) => image.names),
      options.name,
    );
    const records: ImageRecord[] = [];
    for (const [position, image] of importable.entries()) {
      records.push(await importOne(deps, image, names[position] as string[], signal, onProgress));
    }
    return records;
  } catch (error) {
    signal?.throwIfAborted();
    throw importError(path, error);
  }
}

/** Held against the collector, since nothing refers to the blobs until they are an image. */
function importOne(
  { images, content }: ImportDeps,
  image: ImportableImage,
  repoTags: readonly string[],
  signal: AbortSignal | undefined,
  report: (progress: PullProgress) => void,
): Promise<ImageRecord> {
  return images.hold(async () => {
    let progress: ProgressTracker | undefined;
    const failure = new AbortController();
    const either = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal]);
    const { digest, arrivals } = await image.ingest(either, (layers) => {
      const stateOf = (position: number) =>
        content.has(layers[position]!.digest) ? "downloaded" : "waiting";
      progress = trackProgress({ reference: repoTags[0] ?? "", phase: "copying" }, layers, stateOf, report);
      return progress;
    });
    signal?.throwIfAborted();
    const repositories = new Set(repoTags.map((tag) => repositoryOf(parseReference(tag))));
    const repoDigests = image.hasRegistryDigest ? [...repositories].map((name) => `${name}@${digest}`) : [];
    try {
      const record = await images.commit(digest, { repoTags, repoDigests }, { progress, arrivals });
      progress?.done();
      return record;
    } finally {
      failure.abort();
      await Promise.allSettled(arrivals);
    }
  });
}

async function openSource(
  path: string,
  temporaryDir: string,
  signal: AbortSignal | undefined,
  report: (progress: PullProgress) => void,
): Promise<ImageSource> {
  const status = await stat(path);
  if (status.isDirectory()) return openDirectorySource(path);
  const onInflated = (bytes: number) => report(nothingYet("", "reading", bytes));
  if (status.isFile()) return openArchiveSource(path, temporaryDir, onInflated, signal);
  throw new FailedPreconditionError("it is neither a directory nor a file");
}

async function readImages(source: ImageSource, content: ContentStore): Promise<ImportableImage[]> {
  // What a current Docker saves is both; as a layout it says more.
  if (await isLayout(source)) return readLayout(source, content);
  if (await isDockerArchive(source)) return readDockerArchive(source, content);
  throw new FailedPreconditionError(
    "it is no image: expected an OCI layout (oci-layout, index.json and blobs/) or what docker save writes (manifest.json)",
  );
}

function importError(path: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof PodrtError) {
    return new PodrtError(error.kind, `cannot import ${path}: ${error.message}`, { cause: error });
  }
  if (code === "ENOENT")
    return new NotFoundError(`cannot import ${path}: there is no such file or directory`);
  return storageError(`import ${path}`, error);
}

// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ErrorKind, FailedPreconditionError, NotFoundError, PodrtError } from "../errors.ts";
import { storageError } from "../lib/storage-error.ts";
import { DIGEST_ALGORITHMS, type DigestAlgorithm, matchesDigest, parseDigest } from "../oci/digest.ts";
import type { Paths } from "../paths.ts";
import { openPartialBlobs } from "./partial-blobs.ts";
import { type Received, receive } from "./receive-blob.ts";

/**
 * Blobs by digest, one file each below `blobsDir/ALGORITHM/`. A blob is there whole and verified, or
 * not at all: it is written elsewhere, hashed on the way, synced, and then renamed into place.
 */
export interface ContentStore {
  has(digest: string): boolean;
  /** Where the blob is, or would be. */
  path(digest: string): string;
  /** Size of a blob that is present; NotFoundError for one that is not. */
  sizeBytes(digest: string): number;
  /**
   * Takes in all of `content`. What is longer or shorter than `expected.sizeBytes`, or hashes to
   * another digest, is refused with FailedPreconditionError; a full disk with ResourceExhaustedError.
   * On any failure the store is as it was before. Content that is already present is replaced.
   */
  ingest(
    content: AsyncIterable<Uint8Array>,
    expected: { digest?: string; sizeBytes?: number },
    signal?: AbortSignal,
  ): Promise<Received>;
  /**
   * Takes in a blob that `open` answers the bytes of, from an offset on. What has come of it is kept when that fails or
   * is aborted, also where the daemon is killed, and the next call begins behind it; it is not called where nothing is
   * missing. What was kept and does not lead to the digest is thrown away, and the blob taken in from its beginning.
   * Errors are those of `ingest`.
   */
  download(
    open: (offset: number) => AsyncIterable<Uint8Array>,
    expected: Received,
    signal?: AbortSignal,
  ): Promise<void>;
  /** The whole blob, verified again; FailedPreconditionError past `limitBytes` or when damaged on disk. */
  read(digest: string, limitBytes: number): Promise<Uint8Array>;
  /** Whether a blob is present and hashes to its digest; reads all of it. */
  isIntact(digest: string): Promise<boolean>;
  /**
   * Removes a blob; one that is absent is no error. It is gone when the call returns; when the promise
   * resolves, so is what it took on disk.
   */
  remove(digest: string): Promise<void>;
  /** Sizes of the blobs that were removed and are still on the disk. */
  going(): number[];
  /** Removes a blob so that `download` may find it again within a day, unless room is needed. */
  setAside(digest: string): Promise<void>;
  /** Gives up what interrupted downloads have left; what is being received stays. */
  clearPartial(): Promise<void>;
  list(): string[];
}

const READ_BYTES = 1 << 20;

/** Opens the store, and throws away what an earlier daemon had half received but cannot be gone on with. */
export function openContentStore(paths: Pick<Paths, "blobsDir" | "ingestDir" | "partialDir">): ContentStore {
  const { blobsDir, ingestDir, partialDir } = paths;
  rmSync(ingestDir, { recursive: true, force: true });
  mkdirSync(ingestDir, { recursive: true, mode: 0o700 });
  for (const algorithm of algorithms())
    mkdirSync(join(blobsDir, algorithm), { recursive: true, mode: 0o700 });

  const path = (digest: string): string => {
    const { algorithm, hex } = parseDigest(digest);
    return join(blobsDir, algorithm, hex);
  };
  const sizeOf = (digest: string): number | undefined => {
    const stat = statSync(path(digest), { throwIfNoEntry: false });
    return stat?.isFile() ? stat.size : undefined;
  };
  const missing = (digest: string) => new NotFoundError(`blob ${digest} is not in the store`);

  /** Files that mean nothing any more; of these, what twice could not be unlinked is tried again with the next. */
  const doomed = new Set<string>();
  const stubborn = new Set<string>();
  const unlinkDoomed = async (file: string) => {
    const files = [...stubborn, file];
    doomed.add(file);
    stubborn.clear();
    for (const one of files) {
      const unlink = () => rm(one, { force: true });
      await unlink()
        .catch(unlink)
        .then(
          () => doomed.delete(one),
          () => stubborn.add(one),
        );
    }
  };

  /** It is gone when the call returns; when the promise resolves, so is what it took on disk. */
  const discard = async (file: string): Promise<void> => {
    const aside = join(ingestDir, randomBytes(12).toString("hex"));
    try {
      renameSync(file, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw storageError(`remove ${file}`, error);
    }
    // Unlinking a large file takes a fifth of a second a GiB: not on this thread. What never can be
    // unlinked goes when the store is next opened.
    await unlinkDoomed(aside);
  };
  const partial = openPartialBlobs(partialDir, discard);
  /** Gives the blob its name. */
  const take = async (file: string, received: Received, wanted: string | undefined) => {
    if (wanted !== undefined && received.digest !== wanted) {
      throw new FailedPreconditionError(
        `the content has the wrong digest ${received.digest} where ${wanted} was announced`,
      );
    }
    await rename(file, path(received.digest));
    await syncDirectory(dirname(path(received.digest)));
    return received;
  };
  /** The error in podrt's words; on a full disk nothing is kept for later. */
  const failed = async (error: unknown, file: string) => {
    const failure = storeError(error, file);
    if (isKind(failure, "ResourceExhausted")) await partial.clear();
    return failure;
  };
  const ingest: ContentStore["ingest"] = async (content, { digest, sizeBytes }, signal) => {
    const file = join(ingestDir, randomBytes(12).toString("hex"));
    try {
      const algorithm = digest === undefined ? "sha256" : parseDigest(digest).algorithm;
      return await take(file, await receive(file, () => content, { algorithm, sizeBytes, signal }), digest);
    } catch (error) {
      await unlinkDoomed(file);
      throw await failed(error, file);
    }
  };
  return {
    path,
    has: (digest) => sizeOf(digest) !== undefined,
    sizeBytes(digest) {
      const size = sizeOf(digest);
      if (size === undefined) throw missing(digest);
      return size;
    },
    ingest,
    async download(open, { digest, sizeBytes }, signal) {
      using claim = partial.claim(digest);
      // Another registry is sending the same blob.
      if (claim === undefined) return void (await ingest(open(0), { digest, sizeBytes }, signal));
      const { file } = claim;
      const { algorithm } = parseDigest(digest);
      for (;;) {
        const keptBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
        try {
          await take(
            file,
            await receive(file, open, { algorithm, sizeBytes, signal, isResumed: true }),
            digest,
          );
          return;
        } catch (error) {
          const failure = storeError(error, file);
          const isWrong = isKind(failure, "FailedPrecondition");
          if (isWrong || isKind(failure, "ResourceExhausted", "Internal")) await discard(file);
          // What was kept may be what was wrong.
          if (!isWrong || keptBytes === 0) throw await failed(failure, file);
        }
      }
    },
    async read(digest, limitBytes) {
      const size = sizeOf(digest);
      if (size === undefined) throw missing(digest);
      if (size > limitBytes) {
        throw new FailedPreconditionError(
          `blob ${digest} has ${size} bytes where ${limitBytes} are the limit`,
        );
      }
      const bytes = new Uint8Array(await readFile(path(digest)));
      if (!matchesDigest(bytes, digest)) {
        throw new FailedPreconditionError(
          `blob ${digest} is damaged on disk (${path(digest)}); remove the image and pull it again`,
        );
      }
      return bytes;
    },
    async isIntact(digest) {
      if (sizeOf(digest) === undefined) return false;
      const { algorithm, hex } = parseDigest(digest);
      const hash = createHash(algorithm);
      try {
        for await (const chunk of createReadStream(path(digest), { highWaterMark: READ_BYTES }))
          hash.update(chunk);
      } catch {
        return false;
      }
      return hash.digest("hex") === hex;
    },
    remove: (digest) => discard(path(digest)),
    going: () => [...doomed].flatMap((file) => statSync(file, { throwIfNoEntry: false })?.size ?? []),
    async setAside(digest) {
      const isThere = sizeOf(digest) !== undefined;
      if (isThere && !partial.adopt(digest, path(digest))) await discard(path(digest));
    },
    clearPartial: partial.clear,
    list: () =>
      algorithms().flatMap((algorithm) =>
        readdirSync(join(blobsDir, algorithm))
          .filter((name) => name.length === DIGEST_ALGORITHMS[algorithm])
          .map((hex) => `${algorithm}:${hex}`),
      ),
  };
}

function algorithms(): DigestAlgorithm[] {
  return Object.keys(DIGEST_ALGORITHMS) as DigestAlgorithm[];
}

/** Makes the rename itself survive a power loss. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What went wrong with the disk, in podrt's own words; everything else passes as it is. */
function storeError(error: unknown, file: string): unknown {
  if (error instanceof PodrtError || (error as NodeJS.ErrnoException)?.syscall === undefined) return error;
  return storageError(`write ${file}`, error);
}

function isKind(error: unknown, ...kinds: readonly ErrorKind[]): boolean {
  return error instanceof PodrtError && kinds.includes(error.kind);
}

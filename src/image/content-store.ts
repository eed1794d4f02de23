// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FailedPreconditionError, InternalError, messageOf, NotFoundError, PodrtError } from "../errors.ts";
import { storageError } from "../lib/storage-error.ts";
import { DIGEST_ALGORITHMS, type DigestAlgorithm, matchesDigest, parseDigest } from "../oci/digest.ts";
import type { Paths } from "../paths.ts";

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
  ): Promise<{ digest: string; sizeBytes: number }>;
  /** The whole blob, verified again; FailedPreconditionError past `limitBytes` or when damaged on disk. */
  read(digest: string, limitBytes: number): Promise<Uint8Array>;
  /** Whether a blob is present and hashes to its digest; reads all of it. */
  isIntact(digest: string): Promise<boolean>;
  /**
   * Removes a blob; one that is absent is no error. It is gone when the call returns; when the promise
   * resolves, so is what it took on disk.
   */
  remove(digest: string): Promise<void>;
  list(): string[];
}

/** Content whose size nobody announced is refused past this. */
const UNANNOUNCED_LIMIT_BYTES = 64 * 2 ** 30;
/** Chunks are gathered to this size before they are written. */
const WRITE_BYTES = 1 << 20;

/** Opens the store, and throws away what an earlier daemon had half received. */
export function openContentStore(paths: Pick<Paths, "blobsDir" | "ingestDir">): ContentStore {
  const { blobsDir, ingestDir } = paths;
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

  /** Files that mean nothing any more. What twice cannot be unlinked is tried again with the next. */
  const doomed = new Set<string>();
  const unlinkDoomed = async () => {
    for (const file of doomed) {
      const unlink = () => rm(file, { force: true });
      await unlink()
        .catch(unlink)
        .then(
          () => doomed.delete(file),
          () => {},
        );
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
    async ingest(content, expected, signal) {
      const algorithm = expected.digest === undefined ? "sha256" : parseDigest(expected.digest).algorithm;
      const temporary = join(ingestDir, randomBytes(12).toString("hex"));
      try {
        const received = await receive(temporary, content, algorithm, expected.sizeBytes, signal);
        if (expected.digest !== undefined && received.digest !== expected.digest) {
          throw new FailedPreconditionError(
            `the content has the wrong digest ${received.digest} where ${expected.digest} was announced`,
          );
        }
        await rename(temporary, path(received.digest));
        await syncDirectory(dirname(path(received.digest)));
        return received;
      } catch (error) {
        doomed.add(temporary);
        await unlinkDoomed();
        throw storeError(error, temporary);
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
        for await (const chunk of createReadStream(path(digest), { highWaterMark: WRITE_BYTES }))
          hash.update(chunk);
      } catch {
        return false;
      }
      return hash.digest("hex") === hex;
    },
    remove(digest) {
      const aside = join(ingestDir, randomBytes(12).toString("hex"));
      try {
        renameSync(path(digest), aside);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return Promise.resolve();
        throw new InternalError(`cannot remove blob ${digest}: ${messageOf(error)}`, { cause: error });
      }
      // Unlinking a large file takes a fifth of a second a GiB: not on this thread. What never can be
      // unlinked goes when the store is next opened.
      doomed.add(aside);
      return unlinkDoomed();
    },
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

/** Writes `content` to a new file, hashing it, and syncs the file. */
async function receive(
  file: string,
  content: AsyncIterable<Uint8Array>,
  algorithm: DigestAlgorithm,
  sizeBytes: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ digest: string; sizeBytes: number }> {
  const hash = createHash(algorithm);
  const limitBytes = sizeBytes ?? UNANNOUNCED_LIMIT_BYTES;
  const handle = await open(file, "wx", 0o600);
  try {
    let received = 0;
    let pending: Uint8Array[] = [];
    let pendingBytes = 0;
    const flush = async () => {
      await writeAll(handle, pending);
      pending = [];
      pendingBytes = 0;
    };
    for await (const chunk of content) {
      signal?.throwIfAborted();
      received += chunk.length;
      if (received > limitBytes) {
        throw new FailedPreconditionError(`the content is longer than the ${limitBytes} bytes announced`);
      }
      hash.update(chunk);
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes >= WRITE_BYTES) await flush();
    }
    await flush();
    if (sizeBytes !== undefined && received !== sizeBytes) {
      throw new FailedPreconditionError(
        `the content ends after ${received} bytes where ${sizeBytes} were announced`,
      );
    }
    signal?.throwIfAborted();
    await handle.sync();
    return { digest: `${algorithm}:${hash.digest("hex")}`, sizeBytes: received };
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  let rest = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.write(rest, 0, rest.length);
    rest = rest.subarray(bytesWritten);
  }
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

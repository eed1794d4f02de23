// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { basename } from "node:path";
import {
  InternalError,
  InvalidArgumentError,
  messageOf,
  PodrtError,
  ResourceExhaustedError,
} from "../errors.ts";
import { createLayerWriter } from "./apply-entry.ts";
import { awaitLayers } from "./awaited-layers.ts";
import { type Compression, detectFileCompression, readDecompressed } from "./decompress.ts";
import { createTarReader } from "./tar-reader.ts";

/** One layer to unpack. */
export interface UnpackRequest {
  readonly blobPath: string;
  readonly mediaType: string;
  /** An existing, empty directory. */
  readonly targetDir: string;
  /**
   * Directories of the layers below, TOP first. Known, they make directories that the layer uses but
   * does not list look as below, and spare deletions of what is not there; leave it out only if unknown.
   */
  readonly lowerDirs?: readonly string[] | undefined;
  /** Instead of `lowerDirs`, for a layer that is unpacked before those below it are there: see awaited-layers.ts. */
  readonly awaitedLower?: SharedArrayBuffer | undefined;
}

export interface UnpackResult {
  /** sha256 of the uncompressed archive, to be compared with the image's configuration. */
  readonly diffId: string;
  /** What the layer takes on disk. */
  readonly sizeBytes: number;
  readonly inodes: number;
}

export interface UnpackLimits {
  readonly uncompressedBytes: number;
  /** Uncompressed to compressed, looked at past `ratioFreeBytes`: zeros alone give gzip 1,000. */
  readonly ratio: number;
  readonly ratioFreeBytes: number;
}

/** Far above any honest layer, far below what fills a disk from a small blob unnoticed. */
export const UNPACK_LIMITS: UnpackLimits = {
  uncompressedBytes: 64 * 2 ** 30,
  ratio: 250,
  ratioFreeBytes: 2 ** 30,
};

/** The compression that a layer's media type announces; "any" where Docker's type leaves it open. */
const MEDIA_TYPES: Readonly<Record<string, Compression | "any">> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
  "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "any",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar": "any",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
};

/**
 * Unpacks one layer: inflates, hashes and applies it in one pass, with bounded memory. It makes system
 * calls all the time, so it belongs on a thread of its own. After an error the target holds half a layer.
 */
export async function unpackLayer(
  request: UnpackRequest,
  signal?: AbortSignal,
  limits: UnpackLimits = UNPACK_LIMITS,
): Promise<UnpackResult> {
  try {
    return await unpack(request, signal, limits);
  } catch (error) {
    const sentence = `layer ${basename(request.blobPath)}: ${messageOf(error)}`;
    if (signal?.aborted) throw signal.reason;
    if (error instanceof PodrtError) throw new PodrtError(error.kind, sentence, { cause: error });
    throw new InternalError(sentence, { cause: error });
  }
}

async function unpack(
  { blobPath, mediaType, targetDir, lowerDirs, awaitedLower }: UnpackRequest,
  signal: AbortSignal | undefined,
  limits: UnpackLimits,
): Promise<UnpackResult> {
  const compression = compressionOf(blobPath, mediaType);
  const limitBytes = limitFor(statSync(blobPath).size, limits);
  const hash = new Bun.CryptoHasher("sha256");
  const findLower =
    awaitedLower !== undefined
      ? () => awaitLayers(awaitedLower)
      : lowerDirs === undefined
        ? undefined
        : () => lowerDirs;
  using writer = createLayerWriter({ targetDir, findLower });
  const reader = createTarReader(writer);
  let bytes = 0;
  for await (const chunk of readDecompressed(blobPath, compression)) {
    signal?.throwIfAborted();
    bytes += chunk.length;
    if (bytes > limitBytes) {
      throw new ResourceExhaustedError(
        `it unpacks to more than ${limitBytes} bytes, which only a decompression bomb does`,
      );
    }
    hash.update(chunk);
    reader.push(chunk);
  }
  reader.finish();
  return { diffId: `sha256:${hash.digest("hex")}`, ...writer.finish() };
}

/** To how many bytes `compressedBytes` may inflate. */
export function limitFor(compressedBytes: number, limits: UnpackLimits = UNPACK_LIMITS): number {
  return Math.min(limits.uncompressedBytes, Math.max(limits.ratioFreeBytes, compressedBytes * limits.ratio));
}

/** What the bytes are, provided that the media type says so too. */
function compressionOf(blobPath: string, mediaType: string): Compression {
  const announced = MEDIA_TYPES[mediaType];
  if (announced === undefined) {
    throw new InvalidArgumentError("", `its media type ${mediaType} is no layer that podrt unpacks`);
  }
  const actual = detectFileCompression(blobPath);
  if (announced !== "any" && announced !== actual) {
    throw new InvalidArgumentError(
      "",
      `its media type ${mediaType} announces ${nameOf(announced)}, but it is ${nameOf(actual)}`,
    );
  }
  return actual;
}

function nameOf(compression: Compression): string {
  return compression === "none" ? "no gzip or zstd data" : compression;
}

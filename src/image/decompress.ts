// SPDX-License-Identifier: Apache-2.0
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { InvalidArgumentError, messageOf } from "../errors.ts";

/** How the bytes of a layer or archive are packed. */
export type Compression = "none" | "gzip" | "zstd";

const MAGIC_BYTES = 16;
const CHUNK_BYTES = 256 * 1024;

// RFC 1952 2.3.1; RFC 8878 3.1.1 and 3.1.2 (a zstd file may begin with a skippable frame).
const GZIP_MAGIC = [0x1f, 0x8b];
const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPABLE_MAGIC = [0x2a, 0x4d, 0x18];
const UNSUPPORTED_MAGICS: readonly (readonly [name: string, magic: readonly number[]])[] = [
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["lz4", [0x04, 0x22, 0x4d, 0x18]],
];

/** The compression that the first bytes show; InvalidArgumentError for one that podrt does not read. */
export function detectCompression(head: Uint8Array): Compression {
  if (startsWith(head, GZIP_MAGIC)) return "gzip";
  if (startsWith(head, ZSTD_MAGIC)) return "zstd";
  const isSkippableFrame =
    ((head[0] ?? 0) & 0xf0) === 0x50 && startsWith(head.subarray(1), ZSTD_SKIPPABLE_MAGIC);
  if (isSkippableFrame) return "zstd";
  const unsupported = UNSUPPORTED_MAGICS.find(([, magic]) => startsWith(head, magic));
  if (unsupported !== undefined) {
    throw new InvalidArgumentError(
      "",
      `the content is compressed with ${unsupported[0]}; podrt reads plain tar, gzip and zstd`,
    );
  }
  return "none";
}

/** The compression of a file, by its first bytes. */
export function detectFileCompression(path: string): Compression {
  const head = new Uint8Array(MAGIC_BYTES);
  const fd = openSync(path, "r");
  try {
    return detectCompression(head.subarray(0, readSync(fd, head, 0, head.length, 0)));
  } finally {
    closeSync(fd);
  }
}

/**
 * The content of a file, inflated on the way with bounded memory; all members of a gzip and all frames
 * of a zstd file. InvalidArgumentError where the compressed data is damaged or ends early.
 */
export async function* readDecompressed(path: string, compression: Compression): AsyncGenerator<Uint8Array> {
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  if (compression === "none") {
    yield* source;
    return;
  }
  const inflater =
    compression === "gzip"
      ? createGunzip({ chunkSize: CHUNK_BYTES })
      : createZstdDecompress({ chunkSize: CHUNK_BYTES });
  try {
    // The error reaches the loop below through the inflater, which pipeline destroys with it.
    yield* pipeline(source, inflater, () => {});
  } catch (error) {
    throw isDataError(error)
      ? new InvalidArgumentError("", `the ${compression} data is damaged: ${messageOf(error)}`, {
          cause: error,
        })
      : error;
  } finally {
    source.destroy();
    inflater.destroy();
  }
}

function isDataError(error: unknown): boolean {
  return /^Z_|^ZSTD_/.test((error as NodeJS.ErrnoException | undefined)?.code ?? "");
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

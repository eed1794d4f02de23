// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { FailedPreconditionError } from "../errors.ts";
import type { DigestAlgorithm } from "../oci/digest.ts";

export interface Received {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface Receiving {
  readonly algorithm: DigestAlgorithm;
  readonly sizeBytes: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** The file may hold the beginning already, and is left with what has come when the content fails. */
  readonly isResumed?: boolean;
}

/** Content whose size nobody announced is refused past this. */
const UNANNOUNCED_LIMIT_BYTES = 64 * 2 ** 30;
/** Chunks are gathered to this size before they are written. */
const WRITE_BYTES = 1 << 20;

/**
 * Writes what `content` answers, from an offset on, to a file, hashes all of it and syncs the file.
 * FailedPreconditionError for what is longer or shorter than announced. The caller looks at the digest.
 */
export async function receive(
  file: string,
  content: (offset: number) => AsyncIterable<Uint8Array>,
  { algorithm, sizeBytes, signal, isResumed = false }: Receiving,
): Promise<Received> {
  const hash = createHash(algorithm);
  const limitBytes = sizeBytes ?? UNANNOUNCED_LIMIT_BYTES;
  const handle = await open(file, isResumed ? "a+" : "wx", 0o600);
  try {
    let received = isResumed ? await hashKept(handle, hash, limitBytes, signal) : 0;
    let pending: Uint8Array[] = [];
    let pendingBytes = 0;
    const flush = async () => {
      const chunks = pending;
      pending = [];
      pendingBytes = 0;
      await writeAll(handle, chunks);
    };
    try {
      if (received === 0 || received !== sizeBytes) {
        for await (const chunk of content(received)) {
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
      }
    } catch (error) {
      if (isResumed) await flush().catch(() => {});
      throw error;
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

/** Hashes what an earlier attempt has left, and answers how much that is; more than there can be is thrown away. */
async function hashKept(
  handle: FileHandle,
  hash: ReturnType<typeof createHash>,
  limitBytes: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { size } = await handle.stat();
  if (size > limitBytes) {
    await handle.truncate(0);
    return 0;
  }
  const buffer = new Uint8Array(Math.min(WRITE_BYTES, size));
  for (let done = 0; done < size; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, done);
    if (bytesRead === 0) return done;
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
  return size;
}

async function writeAll(handle: FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  let rest = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  while (rest.length > 0) {
    const { bytesWritten } = await handle.write(rest, 0, rest.length);
    rest = rest.subarray(bytesWritten);
  }
}

// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readdirSync, renameSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { logger } from "../lib/logger.ts";
import { parseDigest } from "../oci/digest.ts";

/**
 * What has been received of blobs whose pull was interrupted, for the next one to go on with. It is nobody's, and not
 * to be trusted before its digest has been compared.
 */
export interface PartialBlobs {
  /** The file for what there is of a blob, for one receiver at a time; undefined while another has it. */
  claim(digest: string): Claim | undefined;
  /** Takes in a whole blob from `file`; false for one that is not worth it, or that somebody receives. */
  adopt(digest: string, file: string): boolean;
  /** Gives up what nobody receives, for want of room. */
  clear(): Promise<void>;
  /** Gives up what is too old or too small, and the oldest of what is too much. */
  prune(): Promise<void>;
}

/** Dispose it when the receiving has ended, whatever became of it. */
export interface Claim extends Disposable {
  readonly file: string;
}

export interface PartialLimits {
  /** Less is sooner fetched again than looked after. */
  readonly fromBytes: number;
  readonly ageMs: number;
  /** Of all together. */
  readonly bytes: number;
}

const PARTIAL_LIMITS: PartialLimits = {
  fromBytes: 1 << 20,
  ageMs: 24 * 3_600_000,
  bytes: 10 * 2 ** 30,
};

/** `discard` takes a file away at once and deletes it behind the caller's back. */
export function openPartialBlobs(
  directory: string,
  discard: (file: string) => Promise<void>,
  limits: PartialLimits = PARTIAL_LIMITS,
): PartialBlobs {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const claimed = new Set<string>();
  let expiry: NodeJS.Timeout | undefined;

  const fileOf = (digest: string) => {
    const { algorithm, hex } = parseDigest(digest);
    return join(directory, `${algorithm}-${hex}`);
  };
  /** Those that nobody receives, newest first. */
  const idle = () =>
    readdirSync(directory)
      .map((name) => join(directory, name))
      .flatMap((file) => {
        const status = claimed.has(file) ? undefined : statusOf(file);
        return status === undefined ? [] : [{ file, size: status.size, mtimeMs: status.mtimeMs }];
      })
      .sort((one, other) => other.mtimeMs - one.mtimeMs);
  const prune = async () => {
    clearTimeout(expiry);
    let bytes = 0;
    let oldestMs = Number.POSITIVE_INFINITY;
    const surplus = idle().filter(({ size, mtimeMs }) => {
      const isKept =
        size >= limits.fromBytes && Date.now() - mtimeMs < limits.ageMs && bytes + size <= limits.bytes;
      if (isKept) bytes += size;
      if (isKept) oldestMs = Math.min(oldestMs, mtimeMs);
      return !isKept;
    });
    if (oldestMs !== Number.POSITIVE_INFINITY) {
      // A clock that was put back makes the rest of an age longer than the age.
      const waitMs = Math.min(limits.ageMs, Math.max(1000, oldestMs + limits.ageMs - Date.now()));
      expiry = setTimeout(() => void prune().catch(complain), waitMs).unref();
    }
    await Promise.all(surplus.map(({ file }) => discard(file)));
  };

  void prune().catch(complain);
  return {
    prune,
    claim(digest) {
      const file = fileOf(digest);
      if (claimed.has(file)) return undefined;
      claimed.add(file);
      return { file, [Symbol.dispose]: () => void claimed.delete(file) };
    },
    adopt(digest, file) {
      const target = fileOf(digest);
      if (claimed.has(target) || (statusOf(file)?.size ?? 0) < limits.fromBytes) return false;
      renameSync(file, target);
      void prune().catch(complain);
      return true;
    },
    async clear() {
      await Promise.all(idle().map(({ file }) => discard(file)));
    },
  };
}

function statusOf(file: string): Stats | undefined {
  return statSync(file, { throwIfNoEntry: false });
}

function complain(err: unknown): void {
  logger.warn({ err }, "what interrupted pulls have left cannot be looked after");
}

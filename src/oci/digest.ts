// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { InvalidArgumentError } from "../errors.ts";

/** Hash algorithms a digest may name, and the length of their hexadecimal form (OCI image-spec, descriptor.md). */
export const DIGEST_ALGORITHMS = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof DIGEST_ALGORITHMS;

export interface ParsedDigest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;
}

/** True when `text` is `sha256:` or `sha512:` and exactly that many lower-case hexadecimal digits. */
export function isDigest(text: string): boolean {
  return tryParse(text) !== undefined;
}

/** The parts of a digest; anything but a well-formed one is an InvalidArgumentError that names `field`. */
export function parseDigest(text: string, field = "digest"): ParsedDigest {
  const parsed = tryParse(text);
  if (parsed === undefined) {
    throw new InvalidArgumentError(
      field,
      `${JSON.stringify(text.slice(0, 200))} is no digest like sha256:<hex>`,
    );
  }
  return parsed;
}

/** The sha256 digest of `bytes`. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** True when `bytes` hash to `digest`. */
export function matchesDigest(bytes: Uint8Array, digest: string): boolean {
  const { algorithm, hex } = parseDigest(digest);
  return createHash(algorithm).update(bytes).digest("hex") === hex;
}

function tryParse(text: string): ParsedDigest | undefined {
  const match = /^(sha256|sha512):([0-9a-f]+)$/.exec(text);
  if (match === null) return undefined;
  const algorithm = match[1] as DigestAlgorithm;
  const hex = match[2] as string;
  return hex.length === DIGEST_ALGORITHMS[algorithm] ? { algorithm, hex } : undefined;
}

// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { FailedPreconditionError } from "../errors.ts";
import { type ImageManifest, type Platform, parseManifest, selectManifest } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
import { INDEX_DEPTH_LIMIT } from "./commit.ts";
import type { ContentStore } from "./content-store.ts";
import type { RegistryAuth } from "./registry-auth.ts";
import { sessionFor } from "./registry-session.ts";

/** What a registry has under a reference at this moment. */
export interface ImagePreview {
  /** Of the index or manifest that the reference leads to. */
  readonly digest: string;
  /** Of what a pull would download: blobs that are here already are not counted. */
  readonly downloadBytes: number;
}

export interface PreviewDeps {
  readonly config: Pick<Config, "registries" | "image">;
  readonly content: Pick<ContentStore, "has">;
  readonly platform: Platform;
}

/** Reads the documents of an image at its registry and nothing else; nothing is kept of them. */
export async function previewImage(
  { config, content, platform }: PreviewDeps,
  reference: Reference,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
): Promise<ImagePreview> {
  const session = sessionFor(config, reference, auth);
  const missing = new Map<string, number>();
  const count = (digest: string, size: number) => {
    if (!content.has(digest)) missing.set(digest, size);
  };
  let answer = await session.manifest(reference.digest ?? (reference.tag as string), signal);
  const { digest } = answer;
  let manifest: ImageManifest | undefined;
  for (let depth = 0; manifest === undefined; depth++) {
    if (depth === INDEX_DEPTH_LIMIT)
      throw new FailedPreconditionError(`the image is an index of indexes, more than ${depth} deep`);
    count(answer.digest, answer.bytes.length);
    const document = parseManifest(answer.bytes, answer.mediaType);
    if (document.kind === "manifest") manifest = document;
    else answer = await session.manifest(selectManifest(document, platform).digest, signal);
  }
  for (const blob of [manifest.config, ...manifest.layers]) count(blob.digest, blob.size);
  return { digest, downloadBytes: [...missing.values()].reduce((sum, size) => sum + size, 0) };
}

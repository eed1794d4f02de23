// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { findManifest } from "../oci/find-manifest.ts";
import type { Platform } from "../oci/manifest.ts";
import type { Reference } from "../oci/reference.ts";
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
  const read = (tagOrDigest: string) => session.manifest(tagOrDigest, signal);
  const root = await read(reference.digest ?? (reference.tag as string));
  const { manifest, documents } = await findManifest(root, platform, ({ digest }) => read(digest));
  for (const { digest, bytes } of documents) count(digest, bytes.length);
  for (const blob of [manifest.config, ...manifest.layers]) count(blob.digest, blob.size);
  return { digest: root.digest, downloadBytes: [...missing.values()].reduce((sum, size) => sum + size, 0) };
}

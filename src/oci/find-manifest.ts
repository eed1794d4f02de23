// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError } from "../errors.ts";
import {
  type Descriptor,
  type ImageManifest,
  type Platform,
  parseManifest,
  selectManifest,
} from "./manifest.ts";

const INDEX_DEPTH_LIMIT = 3;

/** A manifest or an index as it was read. */
export interface ImageDocument {
  readonly digest: string;
  readonly bytes: Uint8Array;
  /** What it was announced as, where it was. */
  readonly mediaType?: string | undefined;
}

/**
 * The manifest for `platform`, from `root` by way of the indexes that lead to it; `read` gets each document that an
 * index names. With it the documents on that way, the manifest's own last. FailedPreconditionError where one is
 * invalid or there are too many, NotFoundError where an index has nothing for the platform.
 */
export async function findManifest(
  root: ImageDocument,
  platform: Platform,
  read: (descriptor: Descriptor) => Promise<ImageDocument>,
): Promise<{ readonly manifest: ImageManifest; readonly documents: readonly ImageDocument[] }> {
  const documents: ImageDocument[] = [];
  for (let next = root; ; ) {
    documents.push(next);
    const document = parseManifest(next.bytes, next.mediaType);
    if (document.kind === "manifest") return { manifest: document, documents };
    if (documents.length === INDEX_DEPTH_LIMIT) break;
    next = await read(selectManifest(document, platform));
  }
  throw new FailedPreconditionError(`the image is an index of indexes, more than ${INDEX_DEPTH_LIMIT} deep`);
}

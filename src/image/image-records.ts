// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { nodeOf } from "../gc/collect.ts";
import type { ImageConfig } from "../oci/image-spec.ts";
import { formatReference, parseReference } from "../oci/reference.ts";
import type { Table } from "../state/table.ts";
import type { ImageLayer, ImagePlan } from "./commit.ts";

/** An image that is here, whole and unpacked. */
export interface ImageRecord {
  /** Digest of the image's configuration, `sha256:<hex>`: the same under whatever name it was pulled. */
  readonly id: string;
  /** `host/path:tag` */
  readonly repoTags: string[];
  /** `host/path@digest`, the digest being what the registry had: an index or a manifest. */
  readonly repoDigests: string[];
  /** Of the blobs, compressed as they are. */
  readonly sizeBytes: number;
  readonly manifestDigest: string;
  /** Every blob it needs: documents, configuration, layers. */
  readonly blobs: string[];
  /** Bottom first. */
  readonly layers: ImageLayer[];
  /** Made by whoever made the image: never to be trusted. */
  readonly config: ImageConfig;
  readonly createdAtNs: string;
}

export interface ImageNames {
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** The images by id and name, and what each keeps alive. */
export interface ImageRecords {
  find(reference: string): ImageRecord | undefined;
  list(): ImageRecord[];
  /** Records an image and moves `names` to it, away from whatever image had them. */
  put(plan: ImagePlan, names: ImageNames): ImageRecord;
  /** Takes an image out of sight; what its containers stand on stays until `forget`. */
  remove(id: string): void;
  /** Undoes `remove`; names that another image has taken meanwhile stay with that. */
  putBack(record: ImageRecord): void;
  /** Drops the removed images that no container uses. */
  forget(inUseImageIds: ReadonlySet<string>): void;
  /** Nodes of the images, for the collector. */
  roots(): string[];
  /** Nodes that the node of an image needs. */
  refs(node: string): string[];
}

interface StoredRecord extends ImageRecord {
  /** Removed on request while its layers may still be under a container. */
  readonly removed?: true;
}

const IMAGE = "image";

/** `hasBlob` says what of a former version of an image is worth keeping when it is recorded again. */
export function openImageRecords(
  records: Table<ImageRecord>,
  hasBlob: (digest: string) => boolean,
): ImageRecords {
  const table: Table<StoredRecord> = records;
  const list = () => table.list().filter(({ removed }) => removed !== true);
  const get = (id: string) => {
    const record = table.get(id);
    return record?.removed ? undefined : record;
  };

  // Linear in the number of images, of which a machine has some hundreds.
  const byName = (text: string): ImageRecord | undefined => {
    const name = normalName(text);
    if (name === undefined) return undefined;
    return list().find(({ repoTags, repoDigests }) => repoTags.includes(name) || repoDigests.includes(name));
  };

  const byPrefix = (text: string): ImageRecord | undefined => {
    const prefix = text.replace(/^sha256:/, "");
    if (!/^[0-9a-f]+$/.test(prefix)) return undefined;
    const found = list().filter(({ id }) => id.startsWith(`sha256:${prefix}`));
    if (found.length > 1) {
      throw new InvalidArgumentError(
        "image",
        `${text} is how the ids of ${found.length} images begin; write more of it`,
      );
    }
    return found[0];
  };

  const strip = (names: ImageNames, exceptId: string) => {
    const isFree = (name: string) => !names.repoTags.includes(name) && !names.repoDigests.includes(name);
    for (const record of list()) {
      if (record.id === exceptId) continue;
      const repoTags = record.repoTags.filter(isFree);
      const repoDigests = record.repoDigests.filter(isFree);
      const isSame =
        repoTags.length === record.repoTags.length && repoDigests.length === record.repoDigests.length;
      if (!isSame) table.put(record.id, { ...record, repoTags, repoDigests });
    }
  };

  return {
    list,
    find: (text) =>
      get(/^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : text) ?? byName(text) ?? byPrefix(text),
    put(plan, names) {
      const former = get(plan.id);
      // Names leave the former image first: a crash in between loses a name, which a pull brings back.
      strip(names, plan.id);
      const record: StoredRecord = {
        id: plan.id,
        repoTags: union(former?.repoTags, names.repoTags),
        repoDigests: union(former?.repoDigests, names.repoDigests),
        sizeBytes: plan.sizeBytes,
        manifestDigest: plan.manifestDigest,
        blobs: union(former?.blobs.filter(hasBlob), plan.blobs),
        layers: [...plan.layers],
        config: plan.spec.config,
        createdAtNs: former?.createdAtNs ?? (BigInt(Date.now()) * 1_000_000n).toString(),
      };
      table.put(record.id, record);
      return record;
    },
    remove(id) {
      const record = get(id);
      if (record !== undefined) table.put(id, { ...record, repoTags: [], repoDigests: [], removed: true });
    },
    putBack(record) {
      const isFree = (name: string) => byName(name) === undefined;
      const { repoTags, repoDigests } = record;
      table.put(record.id, {
        ...record,
        repoTags: repoTags.filter(isFree),
        repoDigests: repoDigests.filter(isFree),
      });
    },
    forget(inUseImageIds) {
      for (const { id, removed } of table.list()) {
        if (removed && !inUseImageIds.has(id)) table.delete(id);
      }
    },
    roots: () => [...table.keys()].map((id) => nodeOf(IMAGE, id)),
    refs(node) {
      const record = node.startsWith(`${IMAGE} `) ? table.get(node.slice(IMAGE.length + 1)) : undefined;
      if (record === undefined) return [];
      const layers = record.layers.map(({ chainId }) => nodeOf("layer", chainId));
      return record.removed ? layers : [...layers, ...record.blobs.map((digest) => nodeOf("blob", digest))];
    },
  };
}

/** The normal form of a reference; undefined for what is none, such as an id. */
function normalName(text: string): string | undefined {
  try {
    return formatReference(parseReference(text));
  } catch (error) {
    if (error instanceof InvalidArgumentError) return undefined;
    throw error;
  }
}

function union(first: readonly string[] = [], second: readonly string[] = []): string[] {
  return [...new Set([...first, ...second])];
}

// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Expected } from "./expected.ts";

interface Document {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
}

const DOCUMENT_LIMIT_BYTES = 1 << 20;
/** Above each layer. */
const MOST_COMMON = 16;

/** Blobs and layer directories below `libDir` that no listed image needs, and those that one lacks. */
export function imageProblems(libDir: string, { images }: Expected): string[] {
  const blobsDir = join(libDir, "blobs/sha256");
  const present = existsSync(blobsDir) ? readdirSync(blobsDir) : [];
  const documents = new Map(present.flatMap((hex) => documentOf(blobsDir, hex)));
  const wanted = new Set<string>();
  const problems: string[] = [];
  const layers = new Set<string>();
  for (const id of images) {
    const manifests = [...documents].filter(([, { config }]) => config?.digest === id);
    if (manifests.length === 0) problems.push(`missing: manifest of image ${id}`);
    for (const [digest, { layers: blobs = [] }] of manifests) {
      for (const needed of [digest, id, ...blobs.map((layer) => layer.digest)]) wanted.add(needed);
      const indexes = [...documents].filter(([, { manifests: parts }]) =>
        parts?.some((part) => part.digest === digest),
      );
      for (const [index] of indexes) wanted.add(index);
    }
    for (const chainId of chainIdsOf(blobsDir, id)) layers.add(chainId);
  }
  const digests = new Set(present.map((hex) => `sha256:${hex}`));
  for (const digest of digests) if (!wanted.has(digest)) problems.push(`orphan: blob ${digest}`);
  for (const digest of wanted) if (!digests.has(digest)) problems.push(`missing: blob ${digest}`);
  const names = existsSync(join(libDir, "layers")) ? readdirSync(join(libDir, "layers")) : [];
  // What containers share above an image's layers is there as long as those are, with no row that tells of it.
  const common = names.filter((name) => /^\d+-common$/.test(name));
  if (common.length > MOST_COMMON * layers.size) problems.push(`orphan: ${common.join(" ")} in layers`);
  const directories = names.filter((name) => !common.includes(name));
  if (directories.length !== layers.size) {
    const kind = directories.length > layers.size ? "orphan" : "missing";
    problems.push(`${kind}: the images have ${layers.size} layers, and on disk are ${directories.join(" ")}`);
  }
  return problems;
}

function documentOf(blobsDir: string, hex: string): [string, Document][] {
  try {
    const path = join(blobsDir, hex);
    if (statSync(path).size > DOCUMENT_LIMIT_BYTES) return [];
    return [[`sha256:${hex}`, JSON.parse(readFileSync(path, "utf8")) as Document]];
  } catch {
    return [];
  }
}

/** Chain ids of an image by its configuration (image-spec, config.md, Layer ChainID). */
function chainIdsOf(blobsDir: string, id: string): string[] {
  try {
    const text = readFileSync(join(blobsDir, id.replace("sha256:", "")), "utf8");
    const { rootfs } = JSON.parse(text) as { rootfs: { diff_ids: string[] } };
    let chainId = "";
    return rootfs.diff_ids.map((diffId) => {
      const text = `${chainId} ${diffId}`;
      chainId = chainId === "" ? diffId : `sha256:${createHash("sha256").update(text).digest("hex")}`;
      return chainId;
    });
  } catch {
    return [];
  }
}

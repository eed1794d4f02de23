// SPDX-License-Identifier: Apache-2.0
import { reachable } from "../gc/reachable.ts";

/** What the removal of an image frees. */
export interface FreedBytes {
  readonly blobBytes: number;
  readonly layerBytes: number;
  readonly layers: number;
}

/** Images and what they need, as the collector sees it. */
export interface ImageGraph {
  roots(): Iterable<string>;
  refs(node: string): Iterable<string>;
}

/** What a node takes on disk. */
export type NodeSize = (
  node: string,
) => { readonly kind: "blob" | "layer"; readonly bytes: number } | undefined;

/**
 * What is freed when the images of `nodes` are removed one after the other: what several of them have alone is
 * counted for the first.
 */
export function freedBytes(
  nodes: readonly string[],
  { roots, refs }: ImageGraph,
  sizeOf: NodeSize,
): FreedBytes[] {
  const going = new Set(nodes);
  const kept = reachable(
    [...roots()].filter((node) => !going.has(node)),
    refs,
  );
  return nodes.map((image) => {
    const freed = { blobBytes: 0, layerBytes: 0, layers: 0 };
    for (const node of reachable([image], refs)) {
      if (kept.has(node)) continue;
      kept.add(node);
      const size = sizeOf(node);
      if (size?.kind === "blob") freed.blobBytes += size.bytes;
      if (size?.kind === "layer") freed.layerBytes += size.bytes;
      if (size?.kind === "layer") freed.layers += 1;
    }
    return freed;
  });
}

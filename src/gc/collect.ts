// SPDX-License-Identifier: Apache-2.0
import type { Leases } from "./leases.ts";
import { reachable } from "./reachable.ts";

/** A store whose entries are nodes of the graph: entry `key` of store `kind` is the node `KIND KEY`. */
export interface Sweepable {
  readonly kind: string;
  list(): readonly string[];
  /** Resolves once the entry is none any more, also after a power loss where that matters. */
  remove(key: string): Promise<Removal>;
}

/** What is left to do of a removal: nobody who needs the entry again has to wait for that. */
export interface Removal {
  /** Resolves when what the entry took on disk is free. */
  readonly freed: Promise<void>;
}

export interface Graph {
  /** What is kept for its own sake; read anew before each removal. */
  roots(): Iterable<string>;
  refs(node: string): Iterable<string>;
}

export interface CollectOptions {
  readonly graph: Graph;
  readonly leases: Leases;
  readonly stores: readonly Sweepable[];
  /** Only these nodes are candidates; without it, all are. */
  readonly candidates?: ReadonlySet<string>;
  /** An entry that cannot be removed does not stop the others. */
  readonly onFailure: (node: string, error: unknown) => void;
}

/** What is left of a collection: the nodes that are none any more, and the rest of their removal, which never rejects. */
export interface Collected extends Removal {
  readonly removed: readonly string[];
}

export function nodeOf(kind: string, key: string): string {
  return `${kind} ${key}`;
}

/** Each waits for the disk, and those that begin together wait for it together. */
const REMOVALS_AT_A_TIME = 32;

/**
 * Removes what is neither reachable from the roots nor leased, a few at a time, and says which nodes those were.
 *
 * Reachability is computed again before each removal, which costs entries times removals: removals
 * are few, and between two of them a pull may have come to need the next candidate.
 */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { graph, leases, stores, candidates, onFailure } = options;
  const live = () => reachable([...graph.roots(), ...leases.held()], graph.refs);
  const removed: string[] = [];
  const freeing: Promise<void>[] = [];
  const underWay = new Set<Promise<void>>();
  const remove = async (store: Sweepable, key: string, node: string) => {
    try {
      const { freed } = await leases.removing(node, () => store.remove(key));
      removed.push(node);
      freeing.push(freed.catch((error) => onFailure(node, error)));
    } catch (error) {
      onFailure(node, error);
    }
  };
  const before = live();
  for (const store of stores) {
    for (const key of store.list()) {
      const node = nodeOf(store.kind, key);
      if (before.has(node) || (candidates !== undefined && !candidates.has(node))) continue;
      if (underWay.size >= REMOVALS_AT_A_TIME) await Promise.race(underWay);
      if (live().has(node)) continue;
      const removal = remove(store, key, node).finally(() => underWay.delete(removal));
      underWay.add(removal);
    }
  }
  await Promise.all(underWay);
  return { removed, freed: Promise.all(freeing).then(() => {}) };
}

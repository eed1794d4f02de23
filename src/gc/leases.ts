// SPDX-License-Identifier: Apache-2.0

/** Protection of nodes that nothing refers to yet, because the work that will is still going on. */
export interface Lease {
  /** Protects `nodes` too; waits for those whose removal has begun, so that their absence can be seen. */
  hold(nodes: Iterable<string>): Promise<void>;
  readonly nodes: ReadonlySet<string>;
  /** Ends the protection; a second call does nothing. */
  release(): void;
}

export interface Leases {
  open(): Lease;
  held(): Set<string>;
  /** Runs `removal` so that a later `hold` of `node` waits for it. */
  removing<T>(node: string, removal: () => Promise<T>): Promise<T>;
}

export function createLeases(): Leases {
  const open = new Set<Set<string>>();
  const removals = new Map<string, Promise<void>>();
  return {
    open() {
      const nodes = new Set<string>();
      open.add(nodes);
      return {
        nodes,
        async hold(added) {
          const list = [...added];
          for (const node of list) nodes.add(node);
          for (const node of list) await removals.get(node)?.catch(() => {});
        },
        release: () => void open.delete(nodes),
      };
    },
    held: () => new Set([...open].flatMap((nodes) => [...nodes])),
    async removing(node, removal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      removals.set(node, promise);
      try {
        return await removal();
      } finally {
        removals.delete(node);
        resolve();
      }
    },
  };
}

// SPDX-License-Identifier: Apache-2.0

/** Every node that can be reached from `roots` along `refs`, the roots themselves included. */
export function reachable<Node>(roots: Iterable<Node>, refs: (node: Node) => Iterable<Node>): Set<Node> {
  const seen = new Set<Node>(roots);
  // A Set iterates over what is added to it meanwhile: it is its own work list.
  for (const node of seen) {
    for (const next of refs(node)) seen.add(next);
  }
  return seen;
}

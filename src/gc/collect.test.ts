// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { collect, nodeOf, type Removal, type Sweepable } from "./collect.ts";
import { createLeases } from "./leases.ts";
import { reachable } from "./reachable.ts";

/** A store of names that can be made slow to remove from. */
function store(kind: string, ...names: string[]): Sweepable & { names: Set<string> } {
  const held = new Set(names);
  const remove = async (key: string) => {
    held.delete(key);
    return FREE;
  };
  return { kind, names: held, list: () => [...held], remove };
}

const FREE: Removal = { freed: Promise.resolve() };

const unexpected = (node: string, error: unknown) => {
  throw new Error(`${node}: ${error}`);
};

test("reachable is the closure of the roots, in cycles too", () => {
  const edges: Record<string, string[]> = { a: ["b"], b: ["c", "a"], d: ["e"] };
  expect([...reachable(["a"], (node) => edges[node] ?? [])].sort()).toEqual(["a", "b", "c"]);
  expect(reachable([], () => ["x"]).size).toBe(0);
});

test("reachable is closed under refs and has nothing that no root leads to", () => {
  const graph = fc.array(fc.array(fc.nat(19), { maxLength: 4 }), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(graph, fc.array(fc.nat(19), { maxLength: 5 }), (edges, roots) => {
      const found = reachable(roots, (node) => edges[node] ?? []);
      for (const root of roots) expect(found.has(root)).toBe(true);
      for (const node of found) for (const next of edges[node] ?? []) expect(found.has(next)).toBe(true);
      const hasReason = (node: number) =>
        roots.includes(node) || [...found].some((other) => edges[other]?.includes(node));
      for (const node of found) expect(hasReason(node)).toBe(true);
    }),
  );
});

test("what no root reaches is removed from every store, the rest stays", async () => {
  const blobs = store("blob", "1", "2", "3");
  const layers = store("layer", "1", "9");
  const { removed } = await collect({
    graph: {
      roots: () => ["image a"],
      refs: (node) => (node === "image a" ? ["blob 1", "blob 2", "layer 9"] : []),
    },
    leases: createLeases(),
    stores: [blobs, layers],
    onFailure: unexpected,
  });
  expect(removed).toEqual(["blob 3", "layer 1"]);
  expect([...blobs.names, ...layers.names]).toEqual(["1", "2", "9"]);
});

test("leased nodes stay, and what they refer to", async () => {
  const blobs = store("blob", "1", "2", "3");
  const leases = createLeases();
  const lease = leases.open();
  await lease.hold(["blob 1"]);
  const options = {
    graph: { roots: () => [], refs: (node: string) => (node === "blob 1" ? ["blob 2"] : []) },
    leases,
    stores: [blobs],
    onFailure: unexpected,
  };
  expect((await collect(options)).removed).toEqual(["blob 3"]);
  lease.release();
  expect((await collect(options)).removed).toEqual(["blob 1", "blob 2"]);
});

test("only candidates are removed where there are any", async () => {
  const blobs = store("blob", "1", "2");
  const candidates = new Set([nodeOf("blob", "2"), nodeOf("blob", "absent")]);
  const graph = { roots: () => [], refs: () => [] };
  const options = { graph, leases: createLeases(), stores: [blobs], candidates, onFailure: unexpected };
  expect((await collect(options)).removed).toEqual(["blob 2"]);
});

test("a node that comes to be needed while others are removed is kept", async () => {
  const blobs = store("blob", ...Array.from({ length: 40 }, (_, index) => String(index + 1)));
  const roots: string[] = [];
  const slow: Sweepable = {
    ...blobs,
    async remove(key) {
      await Bun.sleep(5);
      roots.push("blob 40");
      return blobs.remove(key);
    },
  };
  const graph = { roots: () => roots, refs: () => [] };
  await collect({ graph, leases: createLeases(), stores: [slow], onFailure: unexpected });
  expect([...blobs.names]).toEqual(["40"]);
});

test("a lease on a node that is being removed waits until it is gone", async () => {
  const leases = createLeases();
  const order: string[] = [];
  const removal = leases.removing("layer 1", async () => {
    await Bun.sleep(20);
    order.push("removed");
  });
  await leases.open().hold(["layer 1"]);
  order.push("held");
  await removal;
  expect(order).toEqual(["removed", "held"]);
});

test("an entry that cannot be removed does not stop the others", async () => {
  const failures: string[] = [];
  const blobs = store("blob", "1", "2");
  const stubborn: Sweepable = {
    ...blobs,
    async remove(key) {
      if (key === "1") throw new Error("busy");
      return blobs.remove(key);
    },
  };
  const graph = { roots: () => [], refs: () => [] };
  const onFailure = (node: string) => failures.push(node);
  const { removed } = await collect({ graph, leases: createLeases(), stores: [stubborn], onFailure });
  expect(removed).toEqual(["blob 2"]);
  expect(failures).toEqual(["blob 1"]);
});

test("who needs an entry again waits until it is none, not until the disk is free", async () => {
  const leases = createLeases();
  const disk = Promise.withResolvers<void>();
  const blobs = store("blob", "1");
  const slow: Sweepable = {
    ...blobs,
    async remove(key) {
      await blobs.remove(key);
      return { freed: disk.promise };
    },
  };
  const graph = { roots: () => [], refs: () => [] };
  const collected = collect({ graph, leases, stores: [slow], onFailure: unexpected });
  await leases.open().hold(["blob 1"]);
  const { removed, freed } = await collected;
  expect([removed, [...blobs.names]]).toEqual([["blob 1"], []]);
  const first = await Promise.race([freed.then(() => "freed"), Bun.sleep(1).then(() => "not yet")]);
  expect(first).toBe("not yet");
  disk.resolve();
  await freed;
});

test("an entry that is gone and cannot be deleted for now is told of", async () => {
  const failures: string[] = [];
  const blobs = store("blob", "1");
  const stubborn: Sweepable = {
    ...blobs,
    async remove(key) {
      await blobs.remove(key);
      return { freed: Promise.reject(new Error("EIO")) };
    },
  };
  const graph = { roots: () => [], refs: () => [] };
  const onFailure = (node: string, error: unknown) => failures.push(`${node}: ${error}`);
  await (await collect({ graph, leases: createLeases(), stores: [stubborn], onFailure })).freed;
  expect(failures).toEqual(["blob 1: Error: EIO"]);
});

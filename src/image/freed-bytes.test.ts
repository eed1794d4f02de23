// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { freedBytes } from "./freed-bytes.ts";

const REFS: Readonly<Record<string, readonly string[]>> = {
  "image a": ["blob 1", "layer base", "layer a"],
  "image b": ["blob 2", "layer base", "layer b"],
  "image c": ["blob 3", "layer base", "layer other"],
};
const graph = { roots: () => Object.keys(REFS), refs: (node: string) => REFS[node] ?? [] };
const sizeOf = (node: string) => {
  const kind = node.startsWith("blob ") ? ("blob" as const) : ("layer" as const);
  return node.startsWith("image ") ? undefined : { kind, bytes: kind === "blob" ? 1 : 100 };
};

test("what an image shares with one that stays is not freed", () => {
  expect(freedBytes(["image a"], graph, sizeOf)).toEqual([{ blobBytes: 1, layerBytes: 100, layers: 1 }]);
});

test("what images share that all go is freed once", () => {
  const freed = freedBytes(["image a", "image b", "image c"], graph, sizeOf);
  expect(freed.map(({ layerBytes }) => layerBytes)).toEqual([200, 100, 100]);
  expect(freedBytes([], graph, sizeOf)).toEqual([]);
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { makeReadOnly, maskPaths } from "./masks.ts";
import { newPassedFds } from "./passed-fds.ts";
import { newProgram } from "./program.ts";
import { type RootTree, rootTree } from "./rootfs.ts";

/** The system calls that are made of so many paths, in a program of its own. */
function stepsOf(count: number, append: (tree: RootTree, paths: readonly string[]) => void): number {
  const program = newProgram("container test");
  append(
    rootTree(program, program.main),
    Array.from({ length: count }, (_, index) => `/path-${index}`),
  );
  return program.listing()[0]!.steps.length;
}

test("a path costs few steps, which are compiled by the daemon and run by the child", () => {
  using passed = newPassedFds();
  const masks = (count: number) => stepsOf(count, (tree, paths) => maskPaths(tree, paths, passed, undefined));
  expect((masks(161) - masks(1)) / 160).toBeLessThanOrEqual(12.2);
  const readOnly = (count: number) => stepsOf(count, makeReadOnly);
  expect((readOnly(161) - readOnly(1)) / 160).toBeLessThanOrEqual(4.1);
});

test("without paths there is no step", () => {
  using passed = newPassedFds();
  expect(stepsOf(0, makeReadOnly)).toBe(0);
  expect(stepsOf(0, (tree, paths) => maskPaths(tree, paths, passed, undefined))).toBe(0);
  expect(passed.fds).toEqual([]);
});

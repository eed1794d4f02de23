// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { identify, isAlive, type ProcessIdentity } from "./process.ts";
import { killTree } from "./process-tree.ts";

function childrenOf(pid: number): ProcessIdentity[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text
    .split(" ")
    .filter(Boolean)
    .flatMap((child) => identify(Number(child)) ?? []);
}

test("a process is killed with its children and theirs, whatever their sessions", async () => {
  const root = Bun.spawn(["sh", "-c", "sh -c 'sleep 60 & sleep 60; exit' & setsid sleep 60 & wait; exit"]);
  const tree = () => {
    const children = childrenOf(root.pid);
    return [...children, ...children.flatMap(({ pid }) => childrenOf(pid))];
  };
  while (tree().length < 4) await Bun.sleep(1);
  const members = tree();
  killTree(identify(root.pid)!);
  expect(await root.exited).toBe(137);
  while (members.some(isAlive)) await Bun.sleep(1);
}, 10_000);

test("killing what has ended does nothing", async () => {
  const child = Bun.spawn(["true"]);
  const identity = identify(child.pid)!;
  await child.exited;
  killTree(identity);
});

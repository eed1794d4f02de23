// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { identify, type ProcessIdentity } from "./process.ts";
import { namespacesOf } from "./process-namespaces.ts";

const self = identify(process.pid) as ProcessIdentity;

test("a process is in the namespaces whose files have these inode numbers", () => {
  const namespaces = namespacesOf(self);
  for (const kind of ["net", "ipc", "uts", "pid", "mnt", "user"] as const) {
    expect(namespaces?.get(kind)).toBe(statSync(`/proc/self/ns/${kind}`).ino);
  }
});

test("a child shares them, and nothing is told of a process that has ended or whose number another has", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identify(child.pid) as ProcessIdentity;
  expect(namespacesOf(identity)).toEqual(namespacesOf(self)!);
  expect(namespacesOf({ ...identity, startTicks: "1" })).toBeUndefined();
  child.kill("SIGKILL");
  await child.exited;
  expect(namespacesOf(identity)).toBeUndefined();
});

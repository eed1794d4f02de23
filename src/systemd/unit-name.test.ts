// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { isSliceName, sliceCgroup, sliceOfParent } from "./unit-name.ts";

test.each([
  ["system.slice", "/system.slice"],
  [
    "kubepods-burstable-pod1_2.slice",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice",
  ],
  ["-.slice", ""],
  // Names that files of a cgroup have, or could have, are escaped as systemd does it.
  ["cpu-a.slice", "/_cpu.slice/cpu-a.slice"],
  ["memory.slice", "/_memory.slice"],
  ["cgroup.x.slice", "/_cgroup.x.slice"],
  ["_x.slice", "/__x.slice"],
  ["memoryx.slice", "/memoryx.slice"],
])("the slice %p has its cgroup at %p", (name, path) => {
  expect(isSliceName(name)).toBe(true);
  expect(sliceCgroup(name)).toBe(path);
});

test.each([
  "",
  ".slice",
  "-a.slice",
  "a-.slice",
  "a--b.slice",
  "a@b.slice",
  "a b.slice",
  "a.scope",
  "ä.slice",
])("%p is no slice", (name) => expect(isSliceName(name)).toBe(false));

test("a name may have 255 bytes", () => {
  expect(isSliceName(`${"a".repeat(249)}.slice`)).toBe(true);
  expect(isSliceName(`${"a".repeat(250)}.slice`)).toBe(false);
});

test.each(["a-b.slice", "/a.slice/a-b.slice", "a.slice/a-b.slice"])("a parent may be given as %p", (parent) =>
  expect(sliceOfParent("cgroup_parent", parent)).toBe("a-b.slice"),
);

test.each([
  ["/kubepods/pod1", "cgroup_parent: must be a slice of systemd's"],
  ["/a-b.slice", 'cgroup_parent: is "/a-b.slice", but systemd has a-b.slice at /a.slice/a-b.slice'],
  ["/x.slice/a-b.slice", "systemd has a-b.slice at /a.slice/a-b.slice"],
  ["/a.slice/a-b.slice/", "must be a slice"],
  ["/x/-.slice", "systemd has -.slice at /:"],
])("the parent %p is refused", (parent, words) =>
  expect(() => sliceOfParent("cgroup_parent", parent)).toThrow(words),
);

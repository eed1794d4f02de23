// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { podCgroup } from "../container/records.ts";
import type { Runtime } from "../container/runtime.ts";
import type { PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { placeOfPod } from "./pod-cgroup.ts";

function place(driver: "cgroupfs" | "systemd", cgroupParent: string, slice = "podrt.slice") {
  const runtime = { config: { cgroup: { driver, parent: "/podrt", slice } } } as Pick<Runtime, "config">;
  const found = placeOfPod(runtime, "id", { linux: { cgroupParent } } as PodSandboxConfig);
  return { ...found, limitedBy: podCgroup(found as SandboxRecord) };
}

test("with cgroupfs a pod is in the caller's cgroup, or in one of its own", () => {
  expect(place("cgroupfs", "/kubepods/pod1")).toEqual({
    cgroupPath: "/kubepods/pod1/id",
    ownsCgroupParent: false,
    limitedBy: "/kubepods/pod1",
  });
  expect(place("cgroupfs", "")).toEqual({
    cgroupPath: "/podrt/id/pause",
    ownsCgroupParent: true,
    limitedBy: "/podrt/id",
  });
  // A path may end as it likes, a slice alone is for systemd.
  expect(place("cgroupfs", "/a/b.slice").cgroupPath).toBe("/a/b.slice/id");
  expect(() => place("cgroupfs", "kubepods.slice")).toThrow(
    'config.linux.cgroup_parent: is the slice "kubepods.slice", and podrt\'s cgroup driver is cgroupfs',
  );
});

test("with systemd a pod is a scope in the caller's slice, or in podrt's with a cgroup for its limits", () => {
  expect(place("systemd", "/kubepods.slice/kubepods-pod1.slice")).toEqual({
    cgroupPath: "/kubepods.slice/kubepods-pod1.slice/podrt-id.scope/pause",
    ownsCgroupParent: false,
    scope: { name: "podrt-id.scope", slice: "kubepods-pod1.slice" },
    limitedBy: "/kubepods.slice/kubepods-pod1.slice",
  });
  expect(place("systemd", "", "a-b.slice")).toEqual({
    cgroupPath: "/a.slice/a-b.slice/podrt-id.scope/pod/pause",
    ownsCgroupParent: true,
    scope: { name: "podrt-id.scope", slice: "a-b.slice" },
    limitedBy: "/a.slice/a-b.slice/podrt-id.scope/pod",
  });
  expect(place("systemd", "-.slice")).toMatchObject({
    cgroupPath: "/podrt-id.scope/pause",
    limitedBy: "/",
  });
  expect(() => place("systemd", "/kubepods/pod1")).toThrow("config.linux.cgroup_parent: must be a slice");
});

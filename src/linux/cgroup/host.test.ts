// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { cgroupHost } from "./host.ts";

const line = (mountPoint: string, type: string, options: string, root = "/") =>
  `31 23 0:28 ${root} ${mountPoint} rw,relatime shared:5 - ${type} ${type} rw,${options}`;
const controllersOf = () => ["cpu", "memory", "pids"];

test("a machine with only cgroup2 is v2, with the controllers of its root", () => {
  const host = cgroupHost(`${line("/sys/fs/cgroup", "cgroup2", "nsdelegate")}\n`, controllersOf);
  expect(host).toEqual({
    version: "v2",
    controllers: ["cpu", "memory", "pids"],
    hierarchies: [],
    unified: "/sys/fs/cgroup",
  });
});

test("v1 hierarchies beside cgroup2 are hybrid, and named ones are left out", () => {
  const mountinfo = [
    "25 1 0:22 / /proc rw - proc proc rw",
    line("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct"),
    line("/sys/fs/cgroup/memory", "cgroup", "memory"),
    line("/sys/fs/cgroup/systemd", "cgroup", "xattr,name=systemd"),
    line("/sys/fs/cgroup/unified", "cgroup2", ""),
  ].join("\n");
  const host = cgroupHost(mountinfo, () => []);
  expect(host?.version).toBe("hybrid");
  expect(host?.controllers).toEqual(["cpu", "cpuacct", "memory"]);
  expect(host?.hierarchies.map(({ mountPoint }) => mountPoint)).toEqual([
    "/sys/fs/cgroup/cpu,cpuacct",
    "/sys/fs/cgroup/memory",
  ]);
  expect(host?.unified).toBe("/sys/fs/cgroup/unified");
});

test("v1 alone is v1", () => {
  const host = cgroupHost(line("/sys/fs/cgroup/pids", "cgroup", "pids"), () => []);
  expect(host?.version).toBe("v1");
  expect(host).not.toHaveProperty("unified");
});

test("a second mount of a hierarchy elsewhere does not replace the usual one", () => {
  const mountinfo = [
    line("/mnt/other\\040view", "cgroup", "memory", "/inner"),
    line("/sys/fs/cgroup/memory", "cgroup", "memory"),
    line("/mnt/other\\040view/cpu", "cgroup", "cpu"),
  ].join("\n");
  expect(cgroupHost(mountinfo, () => [])?.hierarchies).toEqual([
    { controllers: ["memory"], mountPoint: "/sys/fs/cgroup/memory" },
    { controllers: ["cpu"], mountPoint: "/mnt/other view/cpu" },
  ]);
});

test("a machine without control groups has no answer", () => {
  expect(cgroupHost("25 1 0:22 / /proc rw - proc proc rw\n", () => [])).toBeUndefined();
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { openCgroup } from "../linux/cgroup/cgroup.ts";
import type { CgroupHost } from "../linux/cgroup/host.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import { copiedCgroups } from "./cgroup-mounts.ts";

const mount = (name: string, type: string): RuntimeMount => ({
  destination: `/sys/fs/cgroup${name}`,
  type,
  source: "cgroup",
  options: ["ro"],
});

const mounts = [
  mount("", "tmpfs"),
  mount("/cpu,cpuacct", "cgroup"),
  mount("/net_cls", "cgroup"),
  mount("/unified", "cgroup2"),
];

function copies(host: CgroupHost, all: readonly RuntimeMount[], ...namespaces: string[]): object {
  const spec = { mounts: all, linux: { namespaces: namespaces.map((type) => ({ type })) } };
  const found = copiedCgroups(spec as unknown as RuntimeSpec, openCgroup(host, "/pods/one"));
  return Object.fromEntries([...found].map(([{ destination }, directory]) => [destination, directory]));
}

const hybrid: CgroupHost = {
  version: "hybrid",
  controllers: [],
  hierarchies: [{ mountPoint: "/sys/fs/cgroup/cpu,cpuacct", controllers: ["cpu", "cpuacct"] }],
  unified: "/sys/fs/cgroup/unified",
} as unknown as CgroupHost;

test("hierarchies in which a container has a cgroup are copied, others are mounted", () => {
  expect(copies(hybrid, mounts, "cgroup")).toEqual({
    "/sys/fs/cgroup/cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/pods/one",
    "/sys/fs/cgroup/unified": "/sys/fs/cgroup/unified/pods%2Fone",
  });
});

test("nothing is copied into the host's cgroup namespace, nor into a user namespace, nor on cgroup v2", () => {
  expect(copies(hybrid, mounts)).toEqual({});
  expect(copies(hybrid, mounts, "cgroup", "user")).toEqual({});
  const v2: CgroupHost = { ...hybrid, version: "v2", hierarchies: [], unified: "/sys/fs/cgroup" };
  expect(copies(v2, [mount("", "cgroup2")], "cgroup")).toEqual({});
});

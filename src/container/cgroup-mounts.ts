// SPDX-License-Identifier: Apache-2.0
import { basename, dirname } from "node:path";
import { attributesOf } from "../launch/mounts.ts";
import type { PassedFds } from "../launch/passed-fds.ts";
import { setDetachedAttributes } from "../launch/rootfs.ts";
import { AT_FDCWD } from "../linux/abi/fcntl.ts";
import { MS_PRIVATE, mountAttr, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from "../linux/abi/mount.ts";
import type { Cgroup } from "../linux/cgroup/cgroup.ts";
import { Fd } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";

/**
 * The mounts of hierarchies of v1, and of the unified one beside them, that a container is given as a part of the host's,
 * with the directory: that of its own cgroup. In its cgroup namespace a mount of the hierarchy shows the same directory of
 * the same file system; but to make one, the kernel goes through all cgroups of the unified hierarchy.
 *
 * None for a container that is in a user namespace, where the kernel says who may mount what.
 */
export function copiedCgroups(spec: RuntimeSpec, cgroup: Cgroup): ReadonlyMap<RuntimeMount, string> {
  const types = spec.linux.namespaces.map(({ type }) => type);
  if (!types.includes("cgroup") || types.includes("user")) return new Map();
  const directories = cgroup.directories();
  return new Map(
    spec.mounts.flatMap((mount) => {
      if (mount.type !== "cgroup" && mount.type !== "cgroup2") return [];
      const directory = directories.find(
        (one) => mount.destination === `/sys/fs/cgroup/${nameOf(one, cgroup)}`,
      );
      return directory === undefined ? [] : [[mount, directory] as const];
    }),
  );
}

/** The name of the hierarchy's mount point; in the unified one a cgroup has one flat name. */
function nameOf(directory: string, { path }: Cgroup): string {
  const mountPoint = directory.endsWith(path) ? directory.slice(0, -path.length) : dirname(directory);
  return basename(mountPoint);
}

/** Opens them as detached mounts, which `passed` closes. */
export function openCgroupMounts(
  spec: RuntimeSpec,
  cgroup: Cgroup,
  passed: PassedFds,
): ReadonlyMap<RuntimeMount, Fd> {
  const copies = [...copiedCgroups(spec, cgroup)].map(([mount, directory]) => {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    const copy = passed.own(new Fd(syscall("open_tree", AT_FDCWD, directory, flags)));
    setDetachedAttributes(copy, mountAttr(attributesOf(mount.options), 0, MS_PRIVATE), 0);
    return [mount, copy] as const;
  });
  return new Map(copies);
}

// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { FailedPreconditionError } from "../../errors.ts";
import type { BorrowedFile } from "./borrowed-file.ts";

/** How this machine's control groups are laid out. */
export interface CgroupHost {
  /** `hybrid`: the controllers are v1's, and a cgroup2 hierarchy is mounted beside them. */
  readonly version: "v1" | "v2" | "hybrid";
  /** Controllers that limits can be set for: cpu, cpuacct, cpuset, memory, pids, ... */
  readonly controllers: readonly string[];
  /** v1 hierarchies that have controllers; empty on v2. A named one (name=systemd) is left alone. */
  readonly hierarchies: readonly CgroupHierarchy[];
  /** Mount point of the cgroup2 hierarchy, where there is one. */
  readonly unified?: string;
  /** For who makes cgroups below those of others; without it new cpusets of v1 are written one by one. */
  readonly borrowed?: BorrowedFile;
}

export interface CgroupHierarchy {
  readonly controllers: readonly string[];
  readonly mountPoint: string;
}

const V1_CONTROLLERS: ReadonlySet<string> = new Set([
  "blkio",
  "cpu",
  "cpuacct",
  "cpuset",
  "devices",
  "freezer",
  "hugetlb",
  "memory",
  "misc",
  "net_cls",
  "net_prio",
  "perf_event",
  "pids",
  "rdma",
]);

/** Looks at what is mounted (proc_pid_mountinfo(5), cgroups(7)). */
export function detectCgroups(): CgroupHost {
  const host = cgroupHost(readFileSync("/proc/self/mountinfo", "utf8"), (mountPoint) =>
    readFileSync(`${mountPoint}/cgroup.controllers`, "utf8").trim().split(" ").filter(Boolean),
  );
  if (host === undefined) {
    throw new FailedPreconditionError(
      "no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup and start podrt again",
    );
  }
  return host;
}

/** The same from the text of a mountinfo file; `unifiedControllers` reads a cgroup2 mount's controllers. */
export function cgroupHost(
  mountinfo: string,
  unifiedControllers: (mountPoint: string) => readonly string[],
): CgroupHost | undefined {
  const hierarchies: CgroupHierarchy[] = [];
  let unified: string | undefined;
  for (const { type, mountPoint, options } of cgroupMounts(mountinfo)) {
    if (type === "cgroup2") {
      unified ??= mountPoint;
      continue;
    }
    const controllers = options.filter((option) => V1_CONTROLLERS.has(option));
    const isKnown = hierarchies.some((hierarchy) => hierarchy.controllers[0] === controllers[0]);
    if (controllers.length > 0 && !isKnown) hierarchies.push({ controllers, mountPoint });
  }
  const common = { hierarchies, ...(unified === undefined ? {} : { unified }) };
  if (hierarchies.length > 0) {
    const controllers = hierarchies.flatMap((hierarchy) => hierarchy.controllers);
    return { ...common, version: unified === undefined ? "v1" : "hybrid", controllers };
  }
  return unified === undefined
    ? undefined
    : { ...common, version: "v2", controllers: unifiedControllers(unified) };
}

/** Where this machine has cgroup hierarchies mounted, whether podrt uses them or not. */
export function cgroupMountPoints(): string[] {
  return cgroupMounts(readFileSync("/proc/self/mountinfo", "utf8")).map(({ mountPoint }) => mountPoint);
}

interface CgroupMount {
  readonly type: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
}

/** Those below /sys/fs/cgroup first: other mounts of a hierarchy may be somebody's narrower view of it. */
function cgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts = mountinfo.split("\n").flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [type = "", , options = ""] = after.split(" ");
    const mountPoint = before.split(" ")[4];
    if ((type !== "cgroup" && type !== "cgroup2") || mountPoint === undefined) return [];
    return [{ type, mountPoint: decodeOctal(mountPoint), options: options.split(",") }];
  });
  const isUsual = (mount: CgroupMount) => mount.mountPoint.startsWith("/sys/fs/cgroup");
  return [...mounts.filter(isUsual), ...mounts.filter((mount) => !isUsual(mount))];
}

/** Spaces and the like are written as three octal digits. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

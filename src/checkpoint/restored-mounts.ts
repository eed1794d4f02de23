// SPDX-License-Identifier: Apache-2.0
import { lstatSync, statSync } from "node:fs";
import { IMAGE_VOLUME } from "../launch/mounts.ts";
import type { RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import { isExternal, mountsOfProcess, type ProcessMount } from "./container-mounts.ts";

/** Options that take something away; none of a configuration's may be missing. */
const RESTRICTIONS = ["ro", "nosuid", "nodev", "noexec"];
/** What stands over a masked path. */
const COVER_TYPES = ["tmpfs", "devtmpfs"];

/**
 * What the mounts that a restored process sees have that the configuration does not give; undefined where
 * nothing. `places` are those that stood ready for criu.
 */
export function mountProblem(
  pid: number,
  { spec, places }: { readonly spec: RuntimeSpec; readonly places: ReadonlyMap<string, RuntimeMount> },
): string | undefined {
  const [root, ...mounts] = mountsOfProcess(pid);
  if (root?.type !== "overlay" || root.mountPoint !== "/") return "has another root";
  if (spec.root.readonly && !root.options.includes("ro")) return "may write to its root, more";
  const { maskedPaths, readonlyPaths } = spec.linux;
  const volumes = spec.mounts.filter(({ options }) => options.includes(IMAGE_VOLUME)).length;
  const rest = mounts.filter(({ mountPoint }) => ![...maskedPaths, ...readonlyPaths].includes(mountPoint));
  const procs = rest.filter(({ type }) => type === "proc");
  if (procs.length > 1 || procs.some(({ mountPoint }) => mountPoint !== "/proc")) return "has more of /proc";
  const external = rest.filter((mount) => isExternal(mount, root));
  if (rest.length - external.length - procs.length > volumes) return "has more mounts of its root";
  const seen = new Set<string>();
  for (const mount of external) {
    const given = places.get(mount.mountPoint);
    if (given === undefined || seen.has(mount.mountPoint) || !isSame(mount, given)) {
      return `has other mounts (${mount.type} on ${mount.mountPoint})`;
    }
    seen.add(mount.mountPoint);
    const missing = RESTRICTIONS.find(
      (name) => given.options.includes(name) && !mount.options.includes(name),
    );
    if (missing !== undefined) return `has ${mount.mountPoint} mounted without ${missing}, more`;
  }
  return coverProblem(mounts, maskedPaths, readonlyPaths);
}

function isSame(mount: ProcessMount, given: RuntimeMount): boolean {
  if (given.type !== "bind") return mount.type === given.type;
  const { dev } = statSync(given.source);
  return mount.device === `${majorOf(dev)}:${minorOf(dev)}`;
}

/** gnu_dev_major and gnu_dev_minor of makedev(3). */
function majorOf(dev: number): number {
  return Number((BigInt(dev) >> 8n) & 0xfffn);
}

function minorOf(dev: number): number {
  return Number((BigInt(dev) & 0xffn) | ((BigInt(dev) >> 12n) & 0xfff00n));
}

function coverProblem(
  mounts: readonly ProcessMount[],
  maskedPaths: readonly string[],
  readonlyPaths: readonly string[],
): string | undefined {
  for (const path of [...maskedPaths, ...readonlyPaths]) {
    const cover = mounts.findLast(({ mountPoint }) => mountPoint === path);
    // The paths are the kernel's: here as there.
    if (cover === undefined && lstatSync(path, { throwIfNoEntry: false }) === undefined) continue;
    if (cover?.options.includes("ro") !== true) return `may change more of the kernel (${path})`;
    if (maskedPaths.includes(path) && !COVER_TYPES.includes(cover.type))
      return `shows more of the kernel (${path})`;
  }
  return undefined;
}

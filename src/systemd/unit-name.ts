// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { quoted } from "../lib/foreign-text.ts";

/* Names of systemd's units and where their cgroups are (systemd.unit(5), systemd.slice(5)). */

const MAX_NAME_BYTES = 255;
/** Words between single dashes; a name with an `@` is a template's, which slices cannot be. */
const SLICE_NAME = /^[A-Za-z0-9:_.\\]+(-[A-Za-z0-9:_.\\]+)*\.slice$/;
export const ROOT_SLICE = "-.slice";

export function isSliceName(name: string): boolean {
  return name === ROOT_SLICE || (name.length <= MAX_NAME_BYTES && SLICE_NAME.test(name));
}

/**
 * The cgroup of a slice: each dash in its name begins one that lies in the slice before it, so that `a-b.slice` is
 * `/a.slice/a-b.slice`. That of the root slice is `""`, for paths to go on from.
 */
export function sliceCgroup(name: string): string {
  if (name === ROOT_SLICE) return "";
  const words = name.slice(0, -".slice".length).split("-");
  const slices = words.map((_, index) => `${words.slice(0, index + 1).join("-")}.slice`);
  return slices.map((slice) => `/${cgroupNameOf(slice)}`).join("");
}

/** Files of the kernel's could have the names of some units, whose cgroups therefore begin with an underscore. */
const TAKEN_NAME = /^(_|\.|(notify_on_release|release_agent|tasks)$|cgroup\.)/;
const CONTROLLER_FILE = /^(cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|bpf-[a-z-]+)\./;

function cgroupNameOf(unit: string): string {
  return TAKEN_NAME.test(unit) || CONTROLLER_FILE.test(unit) ? `_${unit}` : unit;
}

/**
 * The slice that a cgroup parent names, as kubelets tell it: its name alone, or its whole path as in
 * `/kubepods.slice/kubepods-pod1.slice`. InvalidArgumentError with `field` when it is none.
 */
export function sliceOfParent(field: string, parent: string): string {
  const name = parent.slice(parent.lastIndexOf("/") + 1);
  if (!isSliceName(name)) {
    throw new InvalidArgumentError(
      field,
      `must be a slice of systemd's, as kubepods-burstable.slice is, since podrt's cgroup driver is systemd, but is ${quoted(parent, MAX_NAME_BYTES)}: set the kubelet's cgroupDriver to systemd, or cgroup.driver of podrt to "cgroupfs"`,
    );
  }
  const path = sliceCgroup(name);
  if (parent.includes("/") && parent.replace(/^\/?/, "/") !== path) {
    throw new InvalidArgumentError(
      field,
      `is ${quoted(parent, MAX_NAME_BYTES * 2)}, but systemd has ${name} at ${path || "/"}: name the slice alone, or that path`,
    );
  }
  return name;
}

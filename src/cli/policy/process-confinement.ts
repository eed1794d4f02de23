// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { type CapabilityName, capabilityNames } from "../../linux/capability.ts";
import { procText } from "../../linux/proc-file.ts";

const NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] as const;
const MAX_DEVICES = 256;

export type CapabilitySetName = "bounding" | "effective" | "permitted" | "inheritable" | "ambient";

/** How the kernel confines one process, read from /proc (proc_pid_status(5), namespaces(7), proc_pid_mountinfo(5)). */
export interface ProcessConfinement {
  readonly pid: number;
  /** Real ids as the host has them. */
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly capabilities: Readonly<Record<CapabilitySetName, readonly CapabilityName[]>>;
  readonly noNewPrivileges: boolean;
  readonly seccomp: "off" | "strict" | "filter";
  /** How many filters are installed; 0 where the kernel does not say. */
  readonly seccompFilters: number;
  /** Lines of uid_map and gid_map: first id inside, first id outside, how many. */
  readonly uidMap: readonly string[];
  readonly gidMap: readonly string[];
  /** The label of a security module; empty where none gives one. */
  readonly label: string;
  /** Kinds of namespaces that it has in common with the caller, which is taken for the host. */
  readonly hostNamespaces: readonly string[];
  /** Mount points inside, with the options of the mount. */
  readonly mounts: ReadonlyMap<string, MountedAt>;
  /** Nodes in its /dev, but for directories and links. */
  readonly devices: readonly string[];
}

export interface MountedAt {
  readonly type: string;
  readonly options: readonly string[];
}

const SECCOMP = ["off", "strict", "filter"] as const;

/** Undefined where there is no such process any more. */
export function confinementOf(pid: number): ProcessConfinement | undefined {
  const status = procText(`/proc/${pid}/status`);
  if (status === "") return undefined;
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
  const set = (name: string) => [...capabilityNames(BigInt(`0x${field(name) || "0"}`))];
  const first = (name: string) => Number(field(name).split(/\s+/)[0]);
  return {
    pid,
    uid: first("Uid"),
    gid: first("Gid"),
    groups: field("Groups").split(/\s+/).filter(Boolean).map(Number),
    capabilities: {
      bounding: set("CapBnd"),
      effective: set("CapEff"),
      permitted: set("CapPrm"),
      inheritable: set("CapInh"),
      ambient: set("CapAmb"),
    },
    noNewPrivileges: field("NoNewPrivs") === "1",
    seccomp: SECCOMP[Number(field("Seccomp"))] ?? "off",
    seccompFilters: Number(field("Seccomp_filters") || 0),
    uidMap: mapOf(pid, "uid_map"),
    gidMap: mapOf(pid, "gid_map"),
    label: procText(`/proc/${pid}/attr/current`).replaceAll("\0", "").trim(),
    hostNamespaces: NAMESPACES.filter((kind) => sameNamespace(pid, kind)),
    mounts: mountsOf(pid),
    devices: devicesOf(pid),
  };
}

/** Whether `path` exists in the root of the process; a link counts as what it is, not as what it leads to. */
export function existsInside(pid: number, path: string): boolean {
  try {
    lstatSync(`/proc/${pid}/root${path}`);
    return true;
  } catch {
    return false;
  }
}

/** Undefined where `path` is hidden; else what is there instead. */
export function unmasked(confinement: ProcessConfinement, path: string): string | undefined {
  if (confinement.mounts.has(path)) return undefined;
  return existsInside(confinement.pid, path) ? `${path} is not covered` : undefined;
}

/** Undefined where `path` cannot be written, or is not there; else what is amiss. */
export function writable(confinement: ProcessConfinement, path: string): string | undefined {
  const mount = confinement.mounts.get(path);
  if (mount?.options.includes("ro")) return undefined;
  return existsInside(confinement.pid, path) ? `${path} is not read-only` : undefined;
}

function mapOf(pid: number, name: string): string[] {
  const lines = procText(`/proc/${pid}/${name}`).trim().split("\n").filter(Boolean);
  return lines.map((line) => line.trim().replace(/\s+/g, " "));
}

function sameNamespace(pid: number, kind: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`) === readlinkSync(`/proc/self/ns/${kind}`);
  } catch {
    return false;
  }
}

/** Of mounts on one another the last counts. */
function mountsOf(pid: number): Map<string, MountedAt> {
  const mounts = new Map<string, MountedAt>();
  for (const line of procText(`/proc/${pid}/mountinfo`).split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , , place, options = ""] = before.split(" ");
    if (place !== undefined)
      mounts.set(place, { type: after.split(" ")[0] ?? "", options: options.split(",") });
  }
  return mounts;
}

function devicesOf(pid: number): string[] {
  const directory = `/proc/${pid}/root/dev`;
  if (!existsSync(directory)) return [];
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isCharacterDevice() || entry.isBlockDevice())
      .map(({ name }) => `/dev/${name}`)
      .toSorted()
      .slice(0, MAX_DEVICES);
  } catch {
    return [];
  }
}

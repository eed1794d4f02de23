// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { outputOf } from "./command.ts";
import { allPids, parentOf, procLink, procText, statusField } from "./proc.ts";

/** What the machine had before the instance started, of things that do not bear the instance's name. */
export interface Baseline {
  readonly links: readonly string[];
  readonly rules: string;
  /** By the name of the kernel parameter that lets the machine forward. */
  readonly forwarding: Readonly<Record<string, string>>;
}

/** Where those parameters are. */
export const FORWARDING = {
  "net.ipv4.ip_forward": "/proc/sys/net/ipv4/ip_forward",
  "net.ipv6.conf.all.forwarding": "/proc/sys/net/ipv6/conf/all/forwarding",
} as const;

/** The family of nftables' tables whose owners may need such a parameter. */
const familyOf = (parameter: string) => (parameter.startsWith("net.ipv6.") ? "ip6" : "ip");

function forwarding(): Record<string, string> {
  return Object.fromEntries(Object.entries(FORWARDING).map(([name, path]) => [name, procText(path)]));
}

export async function takeBaseline(): Promise<Baseline> {
  return {
    links: await linkNames(),
    rules: await outputOf("ip", ["-j", "rule"]),
    forwarding: forwarding(),
  };
}

/** The name that the kernel-wide objects of the instance at this root bear. */
export function instanceOf(root: string): string {
  return createHash("sha256").update(resolve(root)).digest("hex").slice(0, 8);
}

/**
 * Everything of the instance that is left on the machine, one line each: processes, mounts, links, routes, rules,
 * tables, cgroups and files. It asks the kernel and the machine's own tools, nothing of podrt.
 *
 * @param daemonPid the daemon, while it runs: it may be there, with its socket and its lock
 */
export async function leftovers(root: string, baseline: Baseline, daemonPid?: number): Promise<string[]> {
  const instance = instanceOf(root);
  return [
    ...processesOf(root, instance)
      .filter(({ pid }) => pid !== daemonPid)
      .map(({ text }) => text),
    ...mountsBelow(root),
    ...(await networkOf(instance, baseline)),
    ...cgroupsOf(instance),
    ...filesOf(root, daemonPid !== undefined),
  ];
}

/** What the process with `pid` has to do with the instance at `root`; undefined for nothing. */
export function tieTo(pid: number, root: string): string | undefined {
  return tieOf(pid, root, instanceOf(root));
}

/** Processes that run from, work in, hold open or see mounted something below the root, or are in its cgroups. */
function processesOf(root: string, instance: string): { pid: number; text: string }[] {
  return allPids()
    .filter((pid) => pid !== process.pid && !isLeftToInit(pid))
    .map((pid) => ({ pid, why: tieOf(pid, root, instance) }))
    .filter(({ why }) => why !== undefined)
    .map(({ pid, why }) => ({
      pid,
      text: `process ${pid} (${procText(`/proc/${pid}/comm`).trim()}): ${why}`,
    }));
}

/** A zombie whose parent has gone before it is reaped by the machine's init, sooner or later. */
function isLeftToInit(pid: number): boolean {
  return parentOf(pid) === 1 && statusField(pid, "State").startsWith("Z");
}

function tieOf(pid: number, root: string, instance: string): string | undefined {
  const base = `/proc/${pid}`;
  if (procText(`${base}/cgroup`).includes(`podrt-${instance}`)) return "is in a cgroup of the instance";
  for (const link of ["exe", "cwd", "root"]) {
    if (procLink(`${base}/${link}`).startsWith(root)) return `its ${link} is below the root`;
  }
  for (const fd of fdsOf(pid)) {
    if (procLink(`${base}/fd/${fd}`).startsWith(`${root}/`))
      return `has ${procLink(`${base}/fd/${fd}`)} open`;
  }
  const mounted = procText(`${base}/mountinfo`)
    .split("\n")
    .find((line) => line.includes(`${root}/`));
  const namespace = procLink(`${base}/ns/mnt`);
  const isOwnNamespace = namespace !== "" && namespace !== procLink("/proc/self/ns/mnt");
  if (mounted !== undefined && isOwnNamespace) return `sees the mount ${mounted}`;
  return undefined;
}

function fdsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
}

function mountsBelow(root: string): string[] {
  return procText("/proc/self/mountinfo")
    .split("\n")
    .filter((line) => line.includes(`${root}/`))
    .map((line) => `mount ${line}`);
}

async function linkNames(): Promise<string[]> {
  return (await links()).map(({ ifname }) => ifname);
}

interface IpLink {
  readonly ifname: string;
  /** The bridge that it is a port of. */
  readonly master?: string;
}

async function links(): Promise<IpLink[]> {
  return JSON.parse(await outputOf("ip", ["-j", "link"])) as IpLink[];
}

async function routes(): Promise<string[]> {
  const tables = ["main", "local"].flatMap((table) => ["-4", "-6"].map((family) => [family, table] as const));
  const texts = await Promise.all(
    tables.map(([family, table]) => outputOf("ip", [family, "route", "show", "table", table])),
  );
  return texts.flatMap((text) => text.trim().split("\n"));
}

/** Other instances may come and go on the machine meanwhile: their bridges and what hangs on those is not counted. */
async function networkOf(instance: string, baseline: Baseline): Promise<string[]> {
  const bridge = `prt${instance}`;
  const isOurs = ({ ifname, master }: IpLink) =>
    ifname === bridge || master === bridge || (master === undefined && /^pv[0-9a-f]{11}$/.test(ifname));
  const ruleset = JSON.parse(await outputOf("nft", ["-j", "list", "tables"])) as {
    nftables: { table?: { family: string; name: string } }[];
  };
  const tables = ruleset.nftables.flatMap(({ table }) => (table?.name.startsWith("podrt") ? [table] : []));
  const own = tables.filter(({ name }) => name.includes(instance));
  const newLinks = (await links()).filter((link) => isOurs(link) && !baseline.links.includes(link.ifname));
  const newRoutes = (await routes()).filter((route) => route.includes(bridge));
  const found = [
    ...newLinks.map(({ ifname }) => `link ${ifname}`),
    ...newRoutes.map((route) => `route ${route}`),
    ...own.map(({ family, name }) => `nftables table ${family} ${name}`),
  ];
  if ((await outputOf("ip", ["-j", "rule"])) !== baseline.rules) found.push("an ip rule");
  const now = forwarding();
  for (const [name, before] of Object.entries(baseline.forwarding)) {
    const isOthers = tables.some((table) => table.family === familyOf(name) && !own.includes(table));
    if (now[name] !== before && !isOthers) found.push(`${name}, which was ${before.trim()}`);
  }
  return found;
}

/** The groups of the instance in every hierarchy; its own one may stay, empty, while the daemon runs. */
function cgroupsOf(instance: string): string[] {
  const hierarchies = readdirSync("/sys/fs/cgroup", { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join("/sys/fs/cgroup", name));
  // Beside v1 the cgroup2 hierarchy is flat: its names begin with the instance's and hold the rest of the path.
  return ["/sys/fs/cgroup", ...hierarchies].flatMap((dir) =>
    readdirSync(dir)
      .filter((name) => name.startsWith(`podrt-${instance}`))
      .map((name) => `cgroup ${join(dir, name)}`),
  );
}

/** Files of pods and containers. Images, the database and the configuration are meant to stay. */
function filesOf(root: string, isServing: boolean): string[] {
  const serving = isServing
    ? ["run/podrt.sock", "run/nri.sock", "run/borrowed-cgroup-file", "run/lock"]
    : ["run/lock"];
  const meant = [...serving, "run/pods", "run/root", "lib/containers", "lib/ingest", "lib/checkpoints"];
  return ["run", "lib/containers", "lib/ingest", "lib/checkpoints"]
    .map((name) => join(root, name))
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => readdirSync(dir, { recursive: true, encoding: "utf8" }).map((name) => join(dir, name)))
    .map((path) => relative(root, path))
    .filter((name) => !meant.includes(name))
    .map((name) => `file ${name}${kindOf(join(root, name))}`);
}

function kindOf(path: string): string {
  try {
    return statSync(path).isDirectory() ? "/" : "";
  } catch {
    return "";
  }
}

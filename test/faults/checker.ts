// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { addressBytes } from "../../src/network/subnet.ts";
import { outputOf } from "../integration/harness/command.ts";
import type { Daemon } from "../integration/harness/daemon.ts";
import { instanceOf, tieTo } from "../integration/harness/leftovers.ts";
import { allPids, isAlive, parentOf, procLink, procText } from "../integration/harness/proc.ts";
import { patience } from "../support/patience.ts";
import { askExpected, type Expected } from "./expected.ts";
import { imageProblems } from "./image-files.ts";
import { leaseDirectory } from "./network-plugin.ts";

/*
 * Compares what the interface lists with what the machine has: processes, mounts, links, tables, cgroups and files,
 * as the kernel and the machine's own tools tell it. Nothing of podrt's own records is read.
 */

/** Everything that nobody lists and everything listed that is not there, one line each. */
export async function problemsOf(daemon: Daemon): Promise<string[]> {
  const expected = await askExpected(daemon);
  return [
    ...processProblems(daemon, expected),
    ...mountProblems(daemon.root, expected),
    ...(await networkProblems(daemon.root, expected)),
    ...cgroupProblems(daemon.root, expected),
    ...fileProblems(daemon.root, expected),
    ...imageProblems(join(daemon.root, "lib"), expected),
  ];
}

/** What is begun behind an answer is done within this, on a machine that is not much slower than most. */
const SETTLE_MS = 4000;

/** What is still found, but for what is known, once everything that goes on behind the answers has had time to end. */
export async function unsettledProblems(daemon: Daemon, known: ReadonlySet<string>): Promise<string[]> {
  return await unsettled(async () => {
    const found = await problemsOf(daemon).catch((error) => [`the checker failed: ${String(error)}`]);
    return found.filter((problem) => !known.has(problem));
  });
}

/** What `look` finds, which it is asked again and again until that is nothing or the time for it to go is over. */
export async function unsettled(look: () => Promise<string[]>): Promise<string[]> {
  const endMs = performance.now() + SETTLE_MS * patience;
  for (;;) {
    const problems = await look();
    if (problems.length === 0 || performance.now() > endMs) return problems;
    await sleep(25);
  }
}

function differences(what: string, found: Iterable<string>, wanted: Iterable<string>): string[] {
  const [there, listed] = [new Set(found), new Set(wanted)];
  return [
    ...[...there].filter((name) => !listed.has(name)).map((name) => `orphan: ${what} ${name}`),
    ...[...listed].filter((name) => !there.has(name)).map((name) => `missing: ${what} ${name}`),
  ];
}

function processProblems(daemon: Daemon, { sandboxes, containers }: Expected): string[] {
  const ready = sandboxes.filter(({ isReady }) => isReady);
  const running = containers.filter(({ state }) => state === "running");
  const pauses = new Set(ready.map(({ pausePid }) => pausePid));
  const monitors = new Set([...pauses].map(parentOf));
  const problems = [
    ...ready.filter(({ pausePid }) => !isAlive(pausePid)).map(({ name }) => `missing: pause of ${name}`),
    ...running.filter(({ pid }) => !isAlive(pid)).map(({ name }) => `missing: process of ${name}`),
    ...ready
      .filter(({ id, pausePid }) => !procText(`/proc/${parentOf(pausePid)}/cmdline`).includes(id))
      .map(({ name }) => `missing: monitor of ${name}`),
  ];
  for (const pid of allPids()) {
    if (pid === process.pid || pid === daemon.pid() || pauses.has(pid) || monitors.has(pid)) continue;
    const cgroup = procText(`/proc/${pid}/cgroup`);
    if (running.some(({ id }) => cgroup.includes(id)) && isAlive(pid)) continue;
    const tie = tieTo(pid, daemon.root);
    // A zombie that init has not reaped yet has no tie but its cgroup.
    if (tie === undefined || (parentOf(pid) === 1 && !isAlive(pid))) continue;
    // Any program may have made a mount namespace while a pod was there; what podrt launches is in a cgroup first.
    if (tie.startsWith("sees the mount")) continue;
    problems.push(`orphan: process ${pid} (${procText(`/proc/${pid}/comm`).trim()}) ${tie}`);
  }
  return problems;
}

function mountProblems(root: string, { sandboxes }: Expected): string[] {
  const mounted = procText("/proc/self/mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${root}/`))
    .map((path) => relative(root, path));
  const wanted = sandboxes
    .filter(({ isReady }) => isReady)
    .flatMap(({ id, hasNetwork }) =>
      ["shm", ...(hasNetwork ? ["netns"] : [])].map((name) => `run/pods/${id}/${name}`),
    );
  const twice = mounted.filter((path, index) => mounted.indexOf(path) !== index);
  return [
    ...differences("mount", mounted, wanted),
    ...twice.map((path) => `orphan: a second mount on ${path}`),
  ];
}

/** Machine-side names of podrt's links look so; another instance's are ports of its own bridge. */
const LINK_PATTERN = /^pv[0-9a-f]{11}$/;

async function networkProblems(root: string, { sandboxes }: Expected): Promise<string[]> {
  const instance = instanceOf(root);
  const bridge = `prt${instance}`;
  const connected = sandboxes.filter(({ isReady, hasNetwork }) => isReady && hasNetwork);
  const attached = connected.filter(({ isPlugged }) => !isPlugged);
  const links = readdirSync("/sys/class/net");
  const master = (link: string) => procLink(`/sys/class/net/${link}/master`).split("/").at(-1);
  const ports = links.filter((link) => master(link) === bridge);
  const loose = links.filter((link) => LINK_PATTERN.test(link) && master(link) === undefined);
  const plugged = connected.filter(({ isPlugged }) => isPlugged).map(({ id }) => id);
  const problems = [
    ...loose.map((link) => `orphan: link ${link} without a bridge`),
    ...differences("lease of a plugin", namesIn(leaseDirectory(root)), plugged),
  ];
  if (ports.length !== attached.length) {
    const kind = ports.length > attached.length ? "orphan" : "missing";
    problems.push(`${kind}: ${bridge} has the ports ${ports.join(" ")} for ${attached.length} pods`);
  }
  const addresses = attached.flatMap((sandbox) => sandbox.addresses);
  const tables = await tablesOf(instance);
  const hasFamily = (isOf6: boolean) => addresses.some((address) => address.includes(":") === isOf6);
  for (const [what, isThere, isWanted] of [
    ["bridge", links.includes(bridge), attached.length > 0],
    ["nftables table of IPv4", tables.some(([family]) => family === "ip"), hasFamily(false)],
    ["nftables table of IPv6", tables.some(([family]) => family === "ip6"), hasFamily(true)],
  ] as const) {
    if (isThere && sandboxes.length === 0) problems.push(`orphan: ${what} of the instance`);
    if (!isThere && isWanted) problems.push(`missing: ${what} of the instance`);
  }
  const rules = await Promise.all(tables.map((table) => outputOf("nft", ["list", "table", ...table])));
  const translated = [...rules.join("\n").matchAll(/: ([0-9a-f.:]+) \. \d+/g)].map((match) => match[1]!);
  for (const address of new Set(translated)) {
    if (!addresses.includes(address)) problems.push(`orphan: host port to ${address}`);
  }
  for (const sandbox of connected) {
    for (const address of sandbox.addresses) {
      if (!hasAddress(sandbox.pausePid, address))
        problems.push(`missing: address ${address} of ${sandbox.name}`);
    }
  }
  return problems;
}

/** The instance's tables, each as its family and name. */
async function tablesOf(instance: string): Promise<string[][]> {
  const lines = (await outputOf("nft", ["list", "tables"])).split("\n");
  return lines.filter((line) => line.includes(instance)).map((line) => line.split(" ").slice(1));
}

/** True when an interface in the network namespace of a process has the address. */
function hasAddress(pid: number, address: string): boolean {
  if (!address.includes(":")) return procText(`/proc/${pid}/net/fib_trie`).includes(`-- ${address}\n`);
  const hex = Buffer.from(addressBytes(address)).toString("hex");
  return procText(`/proc/${pid}/net/if_inet6`).includes(hex);
}

const ID_PATTERN = /[0-9a-f]{32,}/g;

function cgroupProblems(root: string, { sandboxes, containers }: Expected): string[] {
  const living = containers.filter(({ state }) => state !== "exited").map(({ id }) => id);
  const known = new Set([...sandboxes.map(({ id }) => id), ...living]);
  const groups = cgroupsOf(instanceOf(root));
  const problems = groups.flatMap((path) => {
    const strangers = (path.match(ID_PATTERN) ?? []).filter((id) => !known.has(id));
    return strangers.length > 0 ? [`orphan: cgroup ${path}`] : [];
  });
  if (sandboxes.length === 0 && groups.length > 0) problems.push(`orphan: cgroups ${groups.join(" ")}`);
  const wanted = [
    ...sandboxes.filter(({ isReady }) => isReady).map(({ id }) => id),
    ...containers.filter(({ state }) => state === "running").map(({ id }) => id),
  ];
  for (const id of wanted) {
    if (!groups.some((path) => path.includes(id))) problems.push(`missing: cgroup of ${id}`);
  }
  return problems;
}

function cgroupsOf(instance: string): string[] {
  const mountPoint = "/sys/fs/cgroup";
  const hierarchies = [mountPoint, ...readdirSync(mountPoint).map((name) => join(mountPoint, name))];
  return hierarchies.flatMap((dir) =>
    namesIn(dir)
      .filter((name) => name.startsWith(`podrt-${instance}`))
      .flatMap((name) => [join(dir, name), ...directoriesBelow(join(dir, name))]),
  );
}

function directoriesBelow(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => [join(dir, entry.name), ...directoriesBelow(join(dir, entry.name))]);
  } catch {
    return [];
  }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function fileProblems(root: string, { sandboxes, containers }: Expected): string[] {
  const ready = sandboxes.filter(({ isReady }) => isReady);
  const ids = (records: readonly { id: string }[]) => records.map(({ id }) => id);
  const sockets = ready.filter(({ id }) => !existsSync(join(root, "run/pods", id, "monitor.sock")));
  return [
    ...differences("run directory", namesIn(join(root, "run/pods")), ids(sandboxes)),
    ...differences("upper directory", namesIn(join(root, "lib/containers")), ids(containers)),
    ...differences("half-received blob", namesIn(join(root, "lib/ingest")), []),
    ...sockets.map(({ name }) => `missing: socket of the monitor of ${name}`),
    ...ready.flatMap(({ id, name }) =>
      ["hosts", "hostname", "resolv.conf", "journal"]
        .filter((file) => !existsSync(join(root, "run/pods", id, file)))
        .map((file) => `missing: ${file} of ${name}`),
    ),
    ...ready
      .filter(({ id, addresses }) => {
        const hosts = procText(join(root, "run/pods", id, "hosts"));
        return !addresses.every((address) => hosts.includes(`${address}\t`));
      })
      .map(({ name }) => `missing: address in the hosts file of ${name}`),
  ];
}

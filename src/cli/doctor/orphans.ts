// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../../config.ts";
import { findMonitor } from "../../launch/monitor-process.ts";
import { namesIn } from "../../lib/directory.ts";
import { openCgroup } from "../../linux/cgroup/cgroup.ts";
import { detectCgroups } from "../../linux/cgroup/host.ts";
import { unpinNamespace } from "../../linux/namespace.ts";
import { hostInterfaceOf } from "../../network/bridge.ts";
import { findLink, portsOf, removeLink } from "../../network/bridge-link.ts";
import { findTables } from "../../network/nat-table.ts";
import { type Paths, podDir } from "../../paths.ts";
import { removeFiles, unmountShm } from "../../sandbox/files.ts";
import { age } from "../human.ts";
import { check, type Finding, ok, warning } from "./finding.ts";
import { recordsOf, type SandboxSeen } from "./own.ts";

type Found = Omit<Finding, "area" | "check">;

const SHORT = 13;
const ID = /^[0-9a-f]{64}$/;

/**
 * Looks for what podrt has made and no record owns. The machine is read before the records: what is made or removed
 * meanwhile has its record first and loses it last, so it is never taken for an orphan.
 */
export async function checkOrphans(paths: Paths, config: Config): Promise<Finding[]> {
  const looked = await Promise.all([
    check("podrt", "run directories", () => directories(paths)),
    check("podrt", "cgroups", () => cgroups(paths, config)),
    check("podrt", "links", () => links(paths, config)),
    check("podrt", "firewall tables", () => tables(paths, config)),
    check("podrt", "snapshots", () => snapshots(paths)),
  ]);
  return looked.flat();
}

function ids(paths: Paths, table: string): ReadonlySet<string> {
  return new Set(Object.keys(recordsOf(paths)[table] ?? {}));
}

function directories(paths: Paths): Found[] {
  const present = namesIn(paths.podsDir);
  const known = ids(paths, "sandboxes");
  const orphans = present.filter((name) => !known.has(name));
  if (orphans.length === 0) return [ok(`${present.length} directories of pods, each with its pod`)];
  return orphans.map((name) => {
    const path = podDir(paths, name);
    const monitor = findMonitor(name);
    const story = `${path}, made ${agoOf(path)} for a pod whose record is gone`;
    // What still runs is the daemon's to end, which knows how.
    if (monitor !== undefined) {
      return warning(
        `${story}; its monitor still runs as process ${monitor.pid}`,
        "restart podrt: it ends pods that no record knows",
      );
    }
    return warning(`${story}; its monitor has ended`, "podrt doctor --fix removes it", {
      what: `unmount what is in ${path}, and remove it`,
      run() {
        if (ids(paths, "sandboxes").has(name)) return;
        unmountShm(path);
        unpinNamespace(join(path, "netns"));
        removeFiles(path);
      },
    });
  });
}

/** Those below podrt's own parent; what a kubelet has made elsewhere is the kubelet's. */
function cgroups(paths: Paths, config: Config): Found[] {
  const host = detectCgroups();
  const { parent } = config.cgroup;
  const present = [...new Set(openCgroup(host, parent).directories().flatMap(namesIn))].filter((name) =>
    ID.test(name),
  );
  const sandboxes = Object.entries(recordsOf(paths)["sandboxes"] ?? {}) as [string, SandboxSeen][];
  const known = new Set(sandboxes.map(([id]) => id));
  const orphans = present.filter((name) => !known.has(name));
  if (orphans.length === 0)
    return [ok(`${present.length} cgroups of pods below ${parent}, each with its pod`)];
  return orphans.map((name) => {
    const path = join(parent, name);
    const cgroup = openCgroup(host, path);
    const pids = cgroup.pids();
    const story = `cgroup ${path} is of a pod whose record is gone`;
    if (pids.length > 0) {
      return warning(
        `${story}; processes ${pids.slice(0, 5).join(", ")} are in it`,
        "restart podrt: it ends pods that no record knows",
      );
    }
    return warning(`${story}; no process is in it`, "podrt doctor --fix removes it", {
      what: `remove cgroup ${path}`,
      run: () => (ids(paths, "sandboxes").has(name) ? undefined : cgroup.remove()),
    });
  });
}

async function links(paths: Paths, { network }: Config): Promise<Found[]> {
  const bridge = await findLink(network.bridge);
  if (bridge === undefined) return [ok(`bridge ${network.bridge} is not there, as when there are no pods`)];
  const ports = (await portsOf(bridge))
    .map(({ name }) => name)
    .filter((name) => /^pv[0-9a-f]{11}$/.test(name));
  const owners = () => new Set([...ids(paths, "leases"), ...ids(paths, "sandboxes")].map(hostInterfaceOf));
  const known = owners();
  const orphans = ports.filter((name) => !known.has(name));
  if (orphans.length === 0) return [ok(`${ports.length} interfaces on ${network.bridge}, each with its pod`)];
  return orphans.map((name) =>
    warning(
      `interface ${name} on ${network.bridge} is of a pod whose record is gone`,
      "podrt doctor --fix removes it",
      {
        what: `remove interface ${name}`,
        run: async () => {
          if (!owners().has(name)) await removeLink(name);
        },
      },
    ),
  );
}

/** The tables of this instance have its bridge's name, and stay as long as a pod has an address. */
async function tables(paths: Paths, { network }: Config): Promise<Found[]> {
  const mine = (await findTables()).filter(
    ({ comment, name }) => comment.startsWith("podrt: ") && name === network.table,
  );
  const leases = ids(paths, "leases").size;
  if (mine.length > 0 && leases === 0) {
    return [
      warning(
        `nftables table ${mine[0]!.name} is there though no pod has an address`,
        "restart podrt: it takes them away and puts the machine's forwarding back",
      ),
    ];
  }
  if (mine.length === 0 && leases > 0) {
    return [
      warning(
        `${leases} pods have addresses and nftables table ${network.table} is gone: a firewall was loaded anew`,
        `start a pod or restart podrt: it makes the table for ${network.bridge} again`,
      ),
    ];
  }
  return [
    ok(
      leases === 0 ? "none is needed and none is there" : `${mine.length} for ${leases} pods with addresses`,
    ),
  ];
}

function snapshots(paths: Paths): Found[] {
  const present = namesIn(paths.containersDir).filter((name) => ID.test(name));
  const records = recordsOf(paths);
  const known = new Set([
    ...Object.keys(records["containers"] ?? {}),
    ...Object.keys(records["sandboxes"] ?? {}),
  ]);
  const orphans = present.filter((name) => !known.has(name));
  if (orphans.length === 0) return [ok(`${present.length} writable layers, each with its container`)];
  return orphans.map((name) => {
    const path = join(paths.containersDir, name);
    return warning(
      `${path}, made ${agoOf(path)}, is the writable layer of container ${name.slice(0, SHORT)} whose record is gone`,
      "podrt doctor --fix removes it",
      {
        what: `remove ${path}`,
        run() {
          const now = recordsOf(paths);
          if (now["containers"]?.[name] === undefined && now["sandboxes"]?.[name] === undefined)
            removeFiles(path);
        },
      },
    );
  });
}

function agoOf(path: string): string {
  const made = statSync(path, { throwIfNoEntry: false })?.ctimeMs;
  return made === undefined ? "a moment ago" : `${age(BigInt(Math.trunc(made)) * 1_000_000n)} ago`;
}

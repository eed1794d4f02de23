// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { outputOf } from "../integration/harness/command.ts";

const forwarding = "/proc/sys/net/ipv4/ip_forward";
/** Where network plugins keep what they have answered. */
const pluginsDir = "/var/lib/cni";
/** A mount point that podman makes for the network namespaces of its pods. */
const namespacesDir = "/run/netns";

/**
 * What the peers change for good: ip_forward, the tables that iptables makes, podman's bridges and directories. Forwarding
 * is on from the beginning, so that it is nobody's among the peers to switch off. Answers what undoes it.
 */
export async function keepMachine(): Promise<() => Promise<void>> {
  const before = {
    forwarding: readFileSync(forwarding, "utf8"),
    tables: await iptablesTables(),
    bridges: podmanBridges(),
    directories: [pluginsDir, namespacesDir].filter((directory) => existsSync(directory)),
  };
  writeFileSync(forwarding, "1");
  return async () => {
    for (const table of await iptablesTables()) {
      if (!before.tables.includes(table)) await outputOf("nft", ["delete", "table", ...table.split(" ")]);
    }
    for (const bridge of podmanBridges()) {
      if (!before.bridges.includes(bridge)) await outputOf("ip", ["link", "delete", bridge]);
    }
    if (!before.directories.includes(pluginsDir)) rmSync(pluginsDir, { recursive: true, force: true });
    if (!before.directories.includes(namespacesDir) && existsSync(namespacesDir)) {
      if (isMountPoint(namespacesDir)) await outputOf("umount", [namespacesDir]);
      rmdirSync(namespacesDir);
    }
    if (readFileSync(forwarding, "utf8") !== before.forwarding) writeFileSync(forwarding, before.forwarding);
  };
}

/** As `ip nat`: the tables that iptables keeps in nftables are named as its own. */
async function iptablesTables(): Promise<string[]> {
  const tables = await outputOf("nft", ["list", "tables"]);
  return [...tables.matchAll(/^table (ip6? (?:nat|filter|mangle|raw))$/gm)].map((match) => match[1]!);
}

/** Of the network that `podman kube play` makes for itself. */
function podmanBridges(): string[] {
  return readdirSync("/sys/class/net").filter((name) => /^cni-podman\d+$/.test(name));
}

function isMountPoint(directory: string): boolean {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return mounts.some((line) => line.split(" ")[4] === directory);
}

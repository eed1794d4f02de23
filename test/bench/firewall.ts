// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from "node:fs";
import { outputOf } from "../integration/harness/command.ts";

const forwarding = "/proc/sys/net/ipv4/ip_forward";

/**
 * What network plugins change for good: ip_forward, and the tables that iptables makes. Forwarding is on from the beginning,
 * so that it is nobody's among the peers to switch off. Answers what undoes it.
 */
export async function keepFirewall(): Promise<() => Promise<void>> {
  const before = { forwarding: readFileSync(forwarding, "utf8"), tables: await iptablesTables() };
  writeFileSync(forwarding, "1");
  return async () => {
    for (const table of await iptablesTables()) {
      if (!before.tables.includes(table)) await outputOf("nft", ["delete", "table", ...table.split(" ")]);
    }
    if (readFileSync(forwarding, "utf8") !== before.forwarding) writeFileSync(forwarding, before.forwarding);
  };
}

/** As `ip nat`: the tables that iptables keeps in nftables are named as its own. */
async function iptablesTables(): Promise<string[]> {
  const tables = await outputOf("nft", ["list", "tables"]);
  return [...tables.matchAll(/^table (ip6? (?:nat|filter|mangle|raw))$/gm)].map((match) => match[1]!);
}

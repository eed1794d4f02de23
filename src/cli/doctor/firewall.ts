// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../../config.ts";
import { DNS_PORT } from "../../dns/name-server.ts";
import { isServingNames, probeNameServer } from "../../dns/probe.ts";
import { parseResolvConf } from "../../dns/resolv-conf.ts";
import { NETLINK_NETFILTER } from "../../linux/abi/netlink.ts";
import {
  NF_INET_FORWARD,
  NF_INET_LOCAL_IN,
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
} from "../../linux/abi/nf-tables.ts";
import { isPinned } from "../../linux/namespace.ts";
import { decodeChain, listChains } from "../../linux/netlink/nftables.ts";
import { NetlinkSocket } from "../../linux/netlink/socket.ts";
import { procText } from "../../linux/proc-file.ts";
import { parseSubnets } from "../../network/subnet.ts";
import { type Paths, podDir } from "../../paths.ts";
import { type Finding, ok, warning } from "./finding.ts";
import { recordsOf } from "./own.ts";

type Found = Omit<Finding, "area" | "check">;

const FAMILIES = new Map([
  [NFPROTO_INET, "inet"],
  [NFPROTO_IPV4, "ip"],
  [NFPROTO_IPV6, "ip6"],
]);

interface Chain {
  /** As nft takes it. */
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** What none of its rules decides about is dropped. */
  readonly isDropping: boolean;
}

/** The chains of nftables at a hook. */
async function chainsAt(at: number): Promise<Chain[]> {
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  const chains = (await socket.dump(listChains())).map(decodeChain);
  return chains.flatMap(({ family: number, table, name, hook, isDropping }) => {
    const family = FAMILIES.get(number);
    return hook === at && family !== undefined ? [{ family, table, name, isDropping }] : [];
  });
}

/** A chain at the forward hook that drops what no rule accepts keeps pods from the network, whatever podrt's own say. */
export async function firewall({ network: { bridge } }: Config): Promise<Found[]> {
  const dropping = (await chainsAt(NF_INET_FORWARD)).filter(({ isDropping }) => isDropping);
  const legacy =
    procText("/proc/net/ip_tables_names").trim() === ""
      ? []
      : [
          ok(
            "iptables-legacy has tables, whose policy cannot be read here: `iptables-legacy -S FORWARD` shows it",
          ),
        ];
  if (dropping.length === 0) return [ok("no chain of nftables drops what is forwarded"), ...legacy];
  return [
    ...dropping.map((chain) =>
      warning(
        `${titleOf(chain)} drops what is forwarded and not accepted: pods may not reach beyond the machine`,
        `unless it has rules for ${bridge}, let its packets pass there, as in: iptables -I FORWARD -i ${bridge} -j ACCEPT; iptables -I FORWARD -o ${bridge} -j ACCEPT`,
      ),
    ),
    ...legacy,
  ];
}

/**
 * Asks podrt's name server as pods do, from the network of one that was told of it: whatever drops that on its way, of
 * whichever kind and rule, is seen so and in no other way. Where there is no such pod, the policies are all there is to see.
 */
export async function nameServer(
  paths: Paths,
  { network, dns }: Config,
  isRunning: boolean,
): Promise<Found[]> {
  if (!dns.enabled) return [ok("dns.enabled is false: pods ask the machine's servers")];
  if (!isRunning) return [ok("the daemon does not run, so nobody answers pods")];
  const asker = askerOf(
    paths,
    parseSubnets(network.subnets).map(({ gateway }) => gateway),
  );
  if (asker === undefined) return await withoutAsker(network.bridge);
  const { netnsPath, server } = asker;
  const [udp, tcp] = await Promise.all([
    probeNameServer(netnsPath, server, "udp"),
    probeNameServer(netnsPath, server, "tcp"),
  ]);
  if (udp === undefined && tcp === undefined) return [ok(`pods get answers from ${server}`)];
  const how = [...(udp === undefined ? [] : ["UDP"]), ...(tcp === undefined ? [] : ["TCP"])].join(" and ");
  const what = `pods get no answer over ${how} from podrt's name server, ${server} port ${DNS_PORT}`;
  if (!(await isServingNames(server))) {
    return [
      warning(
        `${what}: nobody listens there`,
        "see podrt's log for what has taken the port; free it and restart podrt, or set dns.enabled = false",
      ),
    ];
  }
  const family = server.includes(":") ? "ip6" : "ip";
  const chains = (await chainsAt(NF_INET_LOCAL_IN)).filter((chain) =>
    ["inet", family].includes(chain.family),
  );
  const why = `a firewall drops or refuses what comes in on ${network.bridge} (${udp ?? tcp})`;
  return [warning(`${what}: ${why}`, letIn(chains, network.bridge))];
}

interface Asker {
  /** The pin of its network namespace. */
  readonly netnsPath: string;
  /** Which of podrt's own addresses it was told to ask. */
  readonly server: string;
}

/** A pod that has podrt's name server in its resolv.conf. */
function askerOf(paths: Paths, gateways: readonly string[]): Asker | undefined {
  for (const id of Object.keys(recordsOf(paths)["leases"] ?? {})) {
    const dir = podDir(paths, id);
    const netnsPath = join(dir, "netns");
    const server = serversIn(join(dir, "resolv.conf")).find((address) => gateways.includes(address));
    if (server !== undefined && isPinned(netnsPath)) return { netnsPath, server };
  }
  return undefined;
}

/** None where the pod goes just now. */
function serversIn(path: string): readonly string[] {
  try {
    return parseResolvConf(readFileSync(path, "utf8")).servers;
  } catch {
    return [];
  }
}

async function withoutAsker(bridge: string): Promise<Found[]> {
  const chains = (await chainsAt(NF_INET_LOCAL_IN)).filter(({ isDropping }) => isDropping);
  if (chains.length === 0)
    return [ok("no chain of nftables drops what comes in; with a pod it would be asked")];
  return chains.map((chain) =>
    warning(
      `${titleOf(chain)} drops what comes in and is not accepted: pods may get no answer from podrt's name server`,
      `run a pod and look again, which asks it; ${letIn([chain], bridge)}`,
    ),
  );
}

function titleOf({ family, table, name }: Chain): string {
  return `chain ${name} of table ${family} ${table}`;
}

/** What one chain drops, no other can let in again: each has to. */
function letIn(chains: readonly Chain[], bridge: string): string {
  const rules = chains.map(
    ({ family, table, name }) =>
      `nft insert rule ${family} ${table} ${name} iifname ${bridge} meta l4proto '{ tcp, udp }' th dport ${DNS_PORT} accept`,
  );
  const legacy = ["udp", "tcp"].map(
    (protocol) => `iptables -I INPUT -i ${bridge} -p ${protocol} --dport ${DNS_PORT} -j ACCEPT`,
  );
  return `let port ${DNS_PORT} in on ${bridge}, as in: ${(rules.length > 0 ? rules : legacy).join("; ")}`;
}

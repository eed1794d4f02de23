// SPDX-License-Identifier: Apache-2.0
import { type DnsSettings, parseResolvConf } from "../dns/resolv-conf.ts";
import { CLUSTER_DOMAIN } from "../dns/zone.ts";
import type { Pod } from "./pod.ts";

/**
 * The resolver settings of a pod, or undefined where it has the host's unchanged. With `nameServer`, which knows the
 * names of pods, ClusterFirst, the default, asks that and looks for short names among the pods first, as in a
 * cluster. Every other policy but None begins with the host's resolv.conf, and so does a pod in the host's network.
 */
export function dnsSettings(
  { namespace, spec }: Pick<Pod, "namespace" | "spec">,
  hostResolvConf: string,
  nameServer: string | undefined,
): DnsSettings | undefined {
  const { dnsPolicy = "ClusterFirst", dnsConfig, hostNetwork } = spec;
  const server = dnsPolicy === "ClusterFirst" && !hostNetwork ? nameServer : undefined;
  if (dnsPolicy !== "None" && dnsConfig === undefined && server === undefined) return undefined;
  const base =
    server !== undefined
      ? clusterSettings(namespace, server, parseResolvConf(hostResolvConf))
      : parseResolvConf(dnsPolicy === "None" ? "" : hostResolvConf);
  const { nameservers, searches, options } = dnsConfig ?? {};
  const own = (options ?? []).map(({ name, value }) => (value === undefined ? name : `${name}:${value}`));
  const overridden = new Set(own.map(optionName));
  return {
    servers: [...new Set([...base.servers, ...(nameservers ?? [])])],
    searches: [...new Set([...base.searches, ...(searches ?? [])])],
    options: [...base.options.filter((option) => !overridden.has(optionName(option))), ...own],
  };
}

/** As a kubelet writes them: a name with fewer than five dots is looked for in the domains first. */
function clusterSettings(namespace: string, server: string, host: DnsSettings): DnsSettings {
  const domains = [`${namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN];
  return { servers: [server], searches: [...domains, ...host.searches], options: ["ndots:5"] };
}

function optionName(option: string): string {
  return option.split(":")[0]!;
}

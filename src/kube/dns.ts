// SPDX-License-Identifier: Apache-2.0
import type { PodSpec } from "./manifest/fields.ts";

export interface DnsSettings {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/**
 * The resolver settings of a pod, or undefined where it has the host's unchanged. Without a cluster
 * there is no cluster DNS, so every policy but None begins with the host's resolv.conf.
 */
export function dnsSettings(spec: PodSpec, hostResolvConf: string): DnsSettings | undefined {
  if (spec.dnsPolicy !== "None" && spec.dnsConfig === undefined) return undefined;
  const base = spec.dnsPolicy === "None" ? parseResolvConf("") : parseResolvConf(hostResolvConf);
  const { nameservers, searches, options } = spec.dnsConfig ?? {};
  const own = (options ?? []).map(({ name, value }) => (value === undefined ? name : `${name}:${value}`));
  const overridden = new Set(own.map(optionName));
  return {
    servers: [...new Set([...base.servers, ...(nameservers ?? [])])],
    searches: [...new Set([...base.searches, ...(searches ?? [])])],
    options: [...base.options.filter((option) => !overridden.has(optionName(option))), ...own],
  };
}

/** resolv.conf(5): the last search line counts, options add up. */
function parseResolvConf(text: string): DnsSettings {
  const servers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split("\n")) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === "nameserver" && values[0] !== undefined) servers.push(values[0]);
    if (keyword === "search") searches = values;
    if (keyword === "options") options = [...options, ...values];
  }
  return { servers, searches, options };
}

function optionName(option: string): string {
  return option.split(":")[0]!;
}

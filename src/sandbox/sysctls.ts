// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import type { PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { IdMappings } from "../oci/id-mapping.ts";

/** Which kernel parameters belong to which of a pod's namespaces (namespaces(7), proc_sys(5)). */
const NAMESPACED: readonly { readonly pattern: RegExp; readonly namespace: "network" | "ipc" }[] = [
  { pattern: /^net\//, namespace: "network" },
  { pattern: /^kernel\/(shm[a-z_]*|msg[a-z_]*|sem|sem_next_id)$/, namespace: "ipc" },
  { pattern: /^fs\/mqueue\//, namespace: "ipc" },
];

const HIGHEST_GROUP = 2_147_483_647;

/** What containers without CAP_NET_BIND_SERVICE or CAP_NET_RAW have come to expect: low ports and ping. */
function networkDefaults(mappings: IdMappings | undefined): readonly (readonly [string, string])[] {
  // In a user namespace the kernel takes mapped groups only.
  const highest = Math.min(HIGHEST_GROUP, ...(mappings?.gids ?? []).map(({ size }) => size - 1));
  return [
    ["net/ipv4/ip_unprivileged_port_start", "0"],
    ["net/ipv4/ping_group_range", `0 ${highest}`],
  ];
}

/**
 * The kernel parameters to set for a sandbox, names with slashes. One that belongs to no namespace
 * of the pod's own would change the host, and is refused.
 */
export function sandboxSysctls(
  config: PodSandboxConfig,
  namespaces: { network: boolean; ipc: boolean },
  mappings?: IdMappings,
): (readonly [string, string])[] {
  const requested = Object.entries(config.linux?.sysctls ?? {}).map(([name, value]) => {
    const path = sysctlPath(name);
    const field = `config.linux.sysctls[${name}]`;
    const known = NAMESPACED.find(({ pattern }) => pattern.test(path));
    if (known === undefined || /(^|\/)\.{0,2}(\/|$)/.test(path)) {
      throw new InvalidArgumentError(field, "is no kernel parameter of a pod's own namespaces");
    }
    if (!namespaces[known.namespace]) {
      throw new InvalidArgumentError(
        field,
        `cannot be set, since the pod shares the host's ${known.namespace} namespace`,
      );
    }
    return [path, value] as const;
  });
  return [...(namespaces.network ? networkDefaults(mappings) : []), ...requested];
}

/**
 * `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` are the same: what comes first
 * separates, the other one is a dot within a name (sysctl(8)).
 */
function sysctlPath(name: string): string {
  const separator = /[./]/.exec(name)?.[0];
  return separator === "." ? name.replace(/[./]/g, (found) => (found === "." ? "/" : ".")) : name;
}

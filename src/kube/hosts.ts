// SPDX-License-Identifier: Apache-2.0
import { type Pod, podHostnames } from "./pod.ts";

/** What /etc/hosts of a pod's containers says: the usual names, the pod's own, then its hostAliases. */
export function hostsText(pod: Pod, addresses: readonly string[], hostHosts: string): string {
  const lines = pod.spec.hostNetwork ? [hostHosts.trimEnd()] : ownLines(pod, addresses);
  const aliases = (pod.spec.hostAliases ?? []).filter(({ hostnames }) => (hostnames ?? []).length > 0);
  if (aliases.length > 0) lines.push("# hostAliases of the pod");
  for (const { ip, hostnames } of aliases) lines.push([ip, ...(hostnames ?? [])].join("\t"));
  return `${lines.join("\n")}\n`;
}

function ownLines(pod: Pod, addresses: readonly string[]): string[] {
  return [
    "# Written by podrt when the pod's sandbox was made",
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    ...addresses.map((address) => [address, ...podHostnames(pod)].join("\t")),
  ];
}

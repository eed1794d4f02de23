// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configureNetwork } from "../integration/harness/cni.ts";
import type { Daemon } from "../integration/harness/daemon.ts";

/*
 * A network of a plugin of the sweeps' own: it keeps a file for each pod, and gives it an address on its loopback
 * interface, so that nothing of the machine is touched.
 */

const FILE = "10-swept.conf";
const ADDRESS = "192.0.2.7";

/** Where the plugin is, below the directory of a daemon. */
export function pluginDirectory(root: string): string {
  return join(root, "cni/bin");
}

/** Where it keeps a file for each pod, by the sandbox's id. */
export function leaseDirectory(root: string): string {
  return join(root, "cni/leases");
}

/** From now on new pods are in the plugin's network. */
export function startPluginNetwork(daemon: Daemon): void {
  const leases = leaseDirectory(daemon.root);
  const program = join(pluginDirectory(daemon.root), "swept");
  for (const directory of [leases, pluginDirectory(daemon.root)]) mkdirSync(directory, { recursive: true });
  const result = { cniVersion: "1.1.0", interfaces: [], ips: [{ address: `${ADDRESS}/32` }] };
  const script = `#!/bin/sh
case $CNI_COMMAND in
  VERSION) echo '{"supportedVersions": ["1.1.0"]}' ;;
  ADD)
    : >${leases}/$CNI_CONTAINERID
    nsenter --net="$CNI_NETNS" ip address add ${ADDRESS}/32 dev lo
    echo '${JSON.stringify(result)}'
    ;;
  DEL) rm -f ${leases}/$CNI_CONTAINERID ;;
esac
`;
  writeFileSync(program, script);
  chmodSync(program, 0o755);
  configureNetwork(daemon, FILE, { cniVersion: "1.1.0", name: "swept", type: "swept" });
}

/** From now on new pods are in podrt's own network again. */
export function stopPluginNetwork(daemon: Daemon): void {
  configureNetwork(daemon, FILE, undefined);
}

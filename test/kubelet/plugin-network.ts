// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { buildDir } from "../fixtures/images/packages.ts";

const networkName = "node";

/** The network of Debian's plugins that both runtimes can have. */
export function bridgeNetwork(of: { name?: string; bridge: string; leasesDir: string; subnet: string }) {
  const ipam = {
    type: "host-local",
    dataDir: of.leasesDir,
    ranges: [[{ subnet: of.subnet }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  return {
    cniVersion: "1.0.0",
    name: of.name ?? networkName,
    plugins: [
      { type: "bridge", bridge: of.bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

/** Where `scripts/fetch-cni-plugins.sh` unpacks them. */
export const pluginsDir = join(buildDir, "packages/cni/root/usr/lib/cni");

/** The addresses that pods of such a network have: host-local has a file for each. */
export function leasesIn(leasesDir: string): string[] {
  return readdirSync(join(leasesDir, networkName)).filter((name) => /^[0-9]+\./.test(name));
}

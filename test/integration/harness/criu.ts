// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildDir } from "../../fixtures/images/packages.ts";

/** A criu that works on this machine: the installed one, or the one that scripts/fetch-criu.sh unpacked. */
export const criu = ["/usr/sbin/criu", "/usr/bin/criu", join(buildDir, "packages/criu/criu")].find(
  (path) => spawnSync(path, ["check"]).status === 0,
);

if (criu === undefined) console.error("no criu works on this machine: checkpoints are not tested");

/** The daemon's configuration for it. */
export const criuConfig = `[checkpoint]\ncriu = ${JSON.stringify(criu ?? "/nowhere/criu")}\n`;

// SPDX-License-Identifier: Apache-2.0
import manifest from "../../package.json" with { type: "json" };
import { isAbsent, openDaemon, promptly } from "./client.ts";
import type { Context } from "./program.ts";

/** A daemon that does not answer is no mistake here. */
export async function version({ io, socketPath, output }: Context): Promise<number> {
  const daemon = await daemonVersion(socketPath);
  if (output === "json") {
    await io.out(`${JSON.stringify({ version: manifest.version, daemon: daemon ?? null }, null, 2)}\n`);
    return 0;
  }
  await io.out(`podrt ${manifest.version}\n`);
  await io.out(
    daemon === undefined
      ? `no daemon answers at ${socketPath}\n`
      : `daemon ${daemon.version} (CRI ${daemon.api})\n`,
  );
  return 0;
}

async function daemonVersion(socketPath: string): Promise<{ version: string; api: string } | undefined> {
  using daemon = openDaemon(socketPath);
  try {
    const { runtimeVersion, runtimeApiVersion } = await daemon.runtime.version({}, promptly());
    return { version: runtimeVersion, api: runtimeApiVersion };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

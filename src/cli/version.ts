// SPDX-License-Identifier: Apache-2.0
import manifest from "../../package.json" with { type: "json" };
import { hostPlatform } from "../oci/manifest.ts";
import { type BuildInfo, buildInfo } from "./build-info.ts";
import { isAbsent, openDaemon, promptly } from "./client.ts";
import { isDocument } from "./output/format.ts";
import { printDocument } from "./output/print.ts";
import type { Context } from "./program.ts";

const SHORT_HASH_CHARACTERS = 12;

/** A daemon that does not answer is no mistake here. */
export async function version({ io, socketPath, output }: Context): Promise<number> {
  const daemon = await daemonVersion(socketPath);
  const info = buildInfo(hostPlatform());
  if (isDocument(output)) {
    const all = { version: manifest.version, ...info, daemon: daemon ?? null };
    await printDocument({ io, output }, all);
    return 0;
  }
  await io.out(`podrt ${manifest.version}\n${buildLine(info)}`);
  await io.out(
    daemon === undefined
      ? `no daemon answers at ${socketPath}\n`
      : `daemon ${daemon.version} (CRI ${daemon.api})\n`,
  );
  return 0;
}

function buildLine({ commit, build }: BuildInfo): string {
  const { bun, os, architecture, date } = build;
  if (commit === null) return "";
  const [hash = "", dirty] = commit.split("-");
  const changed = dirty === undefined ? "" : " with changes";
  const day = date === null ? "" : ` of ${date.slice(0, 10)}`;
  return `built from ${hash.slice(0, SHORT_HASH_CHARACTERS)}${changed}${day} with Bun ${bun} for ${os}/${architecture}\n`;
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

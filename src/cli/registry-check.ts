// SPDX-License-Identifier: Apache-2.0
import { loadConfig } from "../config.ts";
import {
  type CheckStep,
  checkRegistry,
  type EndpointReport,
  type RegistryReport,
} from "../image/registry-check.ts";
import { parseReference } from "../oci/reference.ts";
import { pathsFor } from "../paths.ts";
import { isDocument } from "./output/format.ts";
import { printDocument } from "./output/print.ts";
import type { Context } from "./program.ts";
import { painter } from "./table.ts";
import { UsageError } from "./usage-error.ts";

export interface RegistryCheckOptions {
  readonly config?: string;
}

/** Asks the servers of a registry itself, with the daemon's configuration: no daemon has to run. */
export async function registryCheck(
  { io, output, root }: Context,
  name: string,
  { config }: RegistryCheckOptions,
): Promise<number> {
  const paths = pathsFor(root);
  const { host } = parseReference(`${name}/repository/image`, "host");
  // A bare word would be part of a repository on docker.io.
  if (host !== name && name !== "index.docker.io") {
    throw new UsageError(
      `${JSON.stringify(name)} is no registry: name its host as images do, as in docker.io or registry:5000`,
    );
  }
  const report = await checkRegistry(host, loadConfig(paths, config ?? paths.configFile), io.interrupted);
  if (isDocument(output)) await printDocument({ io, output }, report);
  else await io.out(words(report, io));
  return report.isOk ? 0 : 1;
}

function words({ host, source, endpoints, isOk, verdict }: RegistryReport, io: Context["io"]): string {
  const paint = painter(io);
  const describe = (endpoint: EndpointReport, position: number) => [
    `${position + 1}. ${endpoint.url} (${[
      endpoint.isRegistry ? "the registry" : "mirror",
      endpoint.capabilities.join(" and ") || "asked for nothing",
      ...endpoint.settings,
    ].join("; ")})`,
    ...(endpoint.steps.length === 0 ? ["   not needed"] : endpoint.steps.map(stepLine)),
  ];
  const stepLine = ({ step, isOk, text }: CheckStep) =>
    `   ${isOk ? paint("ok    ", "green") : paint("failed", "red")} ${step.padEnd(7)} ${text}`;
  return [
    ...(endpoints.length === 0 ? [] : [`${host}: ${source ?? "nothing is configured"}`]),
    ...endpoints.flatMap(describe),
    `${isOk ? paint("usable", "green") : paint("not usable", "red")}: ${verdict}`,
    "",
  ].join("\n");
}

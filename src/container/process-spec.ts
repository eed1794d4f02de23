// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../errors.ts";
import type { ContainerConfig, LinuxContainerSecurityContext } from "../gen/runtime/v1/api_pb.ts";
import { DEFAULT_PATH } from "../lib/executable.ts";
import {
  CAPABILITIES,
  type CapabilityName,
  DEFAULT_CAPABILITIES,
  parseCapability,
} from "../linux/capability.ts";
import type { ImageConfig } from "../oci/image-spec.ts";
import type { RuntimeCapabilities, RuntimeProcess } from "../oci/runtime-spec.ts";
import type { ResolvedUser } from "./user.ts";

/** What a container runs, resolved from its own configuration and the image's. */
export function processSpec(
  config: ContainerConfig,
  image: ImageConfig,
  context: { user: ResolvedUser; hostname: string; available: ReadonlySet<CapabilityName> },
): RuntimeProcess {
  const security = config.linux?.securityContext;
  const { uid, gid, groups } = context.user;
  return {
    terminal: config.tty,
    user: { uid, gid, additionalGids: groups },
    args: commandLine(config, image),
    env: environment(config, image, context.user, context.hostname),
    cwd: workingDirectory(config, image),
    capabilities: capabilities(security, context.available),
    noNewPrivileges: security?.noNewPrivs ?? false,
    // 0 where nothing is asked: what the daemon's own is, which its service makes very low, is not inherited.
    oomScoreAdj: Number(config.linux?.resources?.oomScoreAdj ?? 0n),
  };
}

/** `command` replaces entrypoint and arguments of the image; `args` alone replaces its arguments. */
function commandLine(config: ContainerConfig, image: ImageConfig): string[] {
  const entrypoint = config.command.length > 0 ? config.command : (image.Entrypoint ?? []);
  const inherited = config.command.length > 0 ? [] : (image.Cmd ?? []);
  const line = [...entrypoint, ...(config.args.length > 0 ? config.args : inherited)];
  if (line.length === 0 || line[0] === "") {
    throw new InvalidArgumentError("config.command", "no command is given and the image has none");
  }
  return line;
}

/** Later definitions win, each name once, in the order of its first appearance. */
function environment(
  config: ContainerConfig,
  image: ImageConfig,
  user: ResolvedUser,
  hostname: string,
): string[] {
  const decoder = new TextDecoder();
  const entries = [
    `PATH=${DEFAULT_PATH}`,
    `HOSTNAME=${hostname}`,
    `HOME=${user.home}`,
    ...(config.tty ? ["TERM=xterm"] : []),
    ...(image.Env ?? []),
    ...config.envs.map(({ key, value }) => `${key}=${decoder.decode(value)}`),
  ];
  const byName = new Map<string, string>();
  for (const entry of entries) byName.set(entry.split("=", 1)[0] ?? entry, entry);
  return [...byName.values()];
}

function workingDirectory(config: ContainerConfig, image: ImageConfig): string {
  const directory = config.workingDir || image.WorkingDir || "/";
  if (directory.startsWith("/")) return directory;
  throw new FailedPreconditionError(
    `the image's working directory ${JSON.stringify(directory)} is not absolute`,
  );
}

const ALL = Object.keys(CAPABILITIES) as CapabilityName[];

/**
 * The capability sets: the default list, then ALL, then single names, dropping last. Ambient ones count as added
 * and are inheritable too; nothing else is inheritable, or files with inheritable capabilities would
 * hand them to users who were not to have them. What the daemon itself lacks cannot be given, so ALL and
 * privileged are clipped to what it has.
 */
function capabilities(
  security: LinuxContainerSecurityContext | undefined,
  available: ReadonlySet<CapabilityName>,
): RuntimeCapabilities {
  const request = security?.capabilities;
  const add = request?.addCapabilities ?? [];
  const drop = request?.dropCapabilities ?? [];
  const field = "config.linux.security_context.capabilities";
  const ambient = named(request?.addAmbientCapabilities ?? [], `${field}.add_ambient_capabilities`);
  let set = new Set<CapabilityName>(security?.privileged ? ALL : DEFAULT_CAPABILITIES);
  if (!security?.privileged) {
    if (includesAll(add)) set = new Set(ALL);
    if (includesAll(drop)) set = new Set();
    for (const name of [...named(add, `${field}.add_capabilities`), ...ambient]) set.add(name);
    for (const name of named(drop, `${field}.drop_capabilities`)) set.delete(name);
  }
  const granted = ALL.filter((name) => set.has(name) && available.has(name)).map((name) => `CAP_${name}`);
  const raised = granted.filter((name) => ambient.some((raise) => name === `CAP_${raise}`));
  return { bounding: granted, effective: granted, permitted: granted, inheritable: raised, ambient: raised };
}

function includesAll(names: readonly string[]): boolean {
  return names.some((name) => name.toUpperCase() === "ALL" || name.toUpperCase() === "CAP_ALL");
}

function named(names: readonly string[], field: string): CapabilityName[] {
  return names.flatMap((name, index) => {
    if (includesAll([name])) return [];
    const known = parseCapability(name);
    if (known === undefined) {
      throw new InvalidArgumentError(
        `${field}[${index}]`,
        `${JSON.stringify(name)} is no capability of Linux`,
      );
    }
    return [known];
  });
}

/** The names of a capability list of a runtime configuration, without their prefix. */
export function capabilitySet(names: readonly string[]): Set<CapabilityName> {
  return new Set(names.map((name) => name.slice("CAP_".length) as CapabilityName));
}

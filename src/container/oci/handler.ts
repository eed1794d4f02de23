// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { join } from "node:path";
import { FailedPreconditionError, UnimplementedError } from "../../errors.ts";
import {
  type ContainerConfig,
  MountPropagation,
  NamespaceMode,
  type PodSandboxConfig,
} from "../../gen/runtime/v1/api_pb.ts";
import { SUB_PATH } from "../../launch/mounts.ts";
import { podDir } from "../../paths.ts";
import type { ContainerRecord } from "../../state/containers.ts";
import type { SandboxRecord } from "../../state/sandboxes.ts";
import type { Runtime } from "../runtime.ts";

/** Another program that makes the containers of a pod: an OCI runtime, as the configuration names it. */
export interface OciHandler {
  readonly name: string;
  readonly path: string;
}

/** podrt's own handler: the default under no name and under its own. */
export const OWN_HANDLERS: readonly string[] = ["", "podrt"];

/** Every runtime handler that a pod may ask for. */
export function handlerNames({ config }: Pick<Runtime, "config">): string[] {
  return [...OWN_HANDLERS, ...Object.keys(config.runtimes)];
}

/**
 * The OCI runtime of a sandbox; undefined where podrt makes the containers itself. FailedPreconditionError when the
 * configuration has it no more.
 */
export function ociHandler(
  { config }: Pick<Runtime, "config">,
  { runtimeHandler: name, id }: Pick<SandboxRecord, "runtimeHandler" | "id">,
): OciHandler | undefined {
  if (OWN_HANDLERS.includes(name)) return undefined;
  const found = config.runtimes[name];
  if (found !== undefined) return { name, path: found.path };
  throw new FailedPreconditionError(
    `the runtime handler ${name} of sandbox ${id} is not in the configuration any more: put [runtimes.${name}] back`,
  );
}

/** Whether an OCI runtime makes the containers of this one's sandbox. */
export function hasOciHandler(runtime: Pick<Runtime, "sandboxes">, { sandboxId }: ContainerRecord): boolean {
  const sandbox = runtime.sandboxes.get(sandboxId);
  return sandbox !== undefined && !OWN_HANDLERS.includes(sandbox.runtimeHandler);
}

/** Refuses by name what podrt asks no OCI runtime for. */
export function checkSandboxFor(runtimeHandler: string, config: PodSandboxConfig): void {
  if (OWN_HANDLERS.includes(runtimeHandler)) return;
  const mode = config.linux?.securityContext?.namespaceOptions?.usernsOptions?.mode;
  if (mode !== NamespaceMode.POD) return;
  refuse("config.linux.security_context.namespace_options.userns_options", runtimeHandler);
}

export function checkContainerFor(runtimeHandler: string, config: ContainerConfig): void {
  if (OWN_HANDLERS.includes(runtimeHandler)) return;
  for (const [index, mount] of config.mounts.entries()) {
    const field = `config.mounts[${index}]`;
    if (mount.recursiveReadOnly) refuse(`${field}.recursive_read_only`, runtimeHandler);
    if (mount.propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL)
      refuse(`${field}.propagation (bidirectional)`, runtimeHandler);
    if (mount.uidMappings.length > 0) refuse(`${field}.uid_mappings`, runtimeHandler);
    if (mount.mountOptions.some((option) => option.startsWith(SUB_PATH))) {
      refuse("subPath of a volume that is not an image's", runtimeHandler);
    }
    if (mount.gidMappings.length > 0) refuse(`${field}.gid_mappings`, runtimeHandler);
  }
}

/** What podrt keeps for the OCI runtime of a pod: its state, and a bundle for each container. */
export function ociDirectory(runtime: Pick<Runtime, "paths">, sandboxId: string): string {
  return join(podDir(runtime.paths, sandboxId), "oci");
}

export function bundleOf(runtime: Pick<Runtime, "paths">, { sandboxId, id }: ContainerRecord): string {
  return join(ociDirectory(runtime, sandboxId), id);
}

/** Removes a container's bundle; absent is fine. */
export function removeBundle(runtime: Pick<Runtime, "paths">, record: ContainerRecord): void {
  rmSync(bundleOf(runtime, record), { recursive: true, force: true });
}

function refuse(field: string, runtimeHandler: string): never {
  throw new UnimplementedError(`${field}: not supported with the runtime handler ${runtimeHandler}`);
}

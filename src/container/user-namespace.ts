// SPDX-License-Identifier: Apache-2.0
import { chownSync, statSync } from "node:fs";
import { FailedPreconditionError, InvalidArgumentError } from "../errors.ts";
import {
  type ContainerConfig,
  type IDMapping,
  type Mount,
  NamespaceMode,
  type NamespaceOption,
  type PodSandboxConfig,
} from "../gen/runtime/v1/api_pb.ts";
import { type ShownIds, withShownIds } from "../launch/idmapped-directories.ts";
import { COMMON_MOUNT_POINT, mountOverlay, type OverlayDirectories } from "../launch/rootfs.ts";
import { ALL_CAPABILITIES, type CapabilityName } from "../linux/capability.ts";
import type { Fd } from "../linux/fd.ts";
import type { TerminalOwner } from "../linux/pty.ts";
import { hostId, hostRoot, type IdMappings } from "../oci/id-mapping.ts";
import type { IdMapping, RuntimeMount, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { Runtime } from "./runtime.ts";
import type { ResolvedUser } from "./user.ts";

/** The group of terminals (devpts), which a short mapping may leave out. */
export const TTY_GROUP = 5;

/** What a pod's user namespace maps; undefined for a pod in the host's. */
export function podIdMappings(config: PodSandboxConfig): IdMappings | undefined {
  return idMappings(config.linux?.securityContext?.namespaceOptions);
}

function idMappings(options: NamespaceOption | undefined): IdMappings | undefined {
  const namespace = options?.usernsOptions;
  if (namespace?.mode !== NamespaceMode.POD) return undefined;
  return { uids: runtimeMappings(namespace.uids), gids: runtimeMappings(namespace.gids) };
}

/** What a mount that asks for it maps. */
export function idMappingsOf(mount: Mount): Pick<RuntimeMount, "uidMappings" | "gidMappings"> {
  const { uidMappings, gidMappings } = mount;
  if (uidMappings.length === 0) return {};
  return { uidMappings: runtimeMappings(uidMappings), gidMappings: runtimeMappings(gidMappings) };
}

/** Mappings of the interface as a runtime configuration has them. */
function runtimeMappings(mappings: readonly IDMapping[]): IdMapping[] {
  return mappings.map(({ containerId, hostId: first, length }) => ({
    containerID: containerId,
    hostID: first,
    size: length,
  }));
}

/** Answers the mappings of the pod for a container that is to be made in it, and which must ask for the same. */
export function containerIdMappings(
  config: ContainerConfig,
  sandbox: PodSandboxConfig,
): IdMappings | undefined {
  const mappings = podIdMappings(sandbox);
  const asked = idMappings(config.linux?.securityContext?.namespaceOptions);
  if (JSON.stringify(asked) === JSON.stringify(mappings)) return mappings;
  throw new InvalidArgumentError(
    "config.linux.security_context.namespace_options.userns_options",
    `must be as the sandbox has it: ${shown(mappings)}, not ${shown(asked)}`,
  );
}

function shown(mappings: IdMappings | undefined): string {
  if (mappings === undefined) return "the host's user namespace";
  const ranges = (list: readonly IdMapping[]) =>
    list.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`).join(", ");
  return `uids ${ranges(mappings.uids)} and gids ${ranges(mappings.gids)}`;
}

/** Refuses a user of an image that no process in the pod's user namespace can be. */
export function checkMapped({ uid, gid, groups }: ResolvedUser, mappings: IdMappings, label: string): void {
  const group = [gid, ...groups].find((id) => hostId(mappings.gids, id) === undefined);
  const who = hostId(mappings.uids, uid) === undefined ? `user ${uid}` : group && `group ${group}`;
  if (who === undefined) return;
  throw new FailedPreconditionError(
    `cannot create ${label}: ${who} of its image is not mapped in the pod's user namespace; map more ids, or run it as another user`,
  );
}

/** Gives a directory of the host's, with ids of an image, to those whom the host knows under these ids. */
export function ownAsMapped(directory: string, mappings: IdMappings): void {
  const root = hostRoot(mappings);
  const { uid, gid } = statSync(directory);
  chownSync(directory, hostId(mappings.uids, uid) ?? root.uid, hostId(mappings.gids, gid) ?? root.gid);
}

/** Whom a container's stdio belongs to: the user it runs as, in the host's numbers. */
export function stdioOwner(spec: RuntimeSpec): TerminalOwner {
  const { uid } = spec.process.user;
  const mappings = specIdMappings(spec);
  const label = spec.linux.mountLabel;
  if (mappings === undefined) return { uid, ttyGroup: TTY_GROUP, root: { uid: 0, gid: 0 }, label };
  const root = hostRoot(mappings);
  const ttyGroup = hostId(mappings.gids, TTY_GROUP) ?? root.gid;
  return { uid: hostId(mappings.uids, uid) ?? root.uid, ttyGroup, root, label };
}

/** The mappings that a container was made with; undefined for one in the host's user namespace. */
export function specIdMappings({ linux }: RuntimeSpec): IdMappings | undefined {
  const { uidMappings: uids, gidMappings: gids } = linux;
  return uids === undefined || gids === undefined ? undefined : { uids, gids };
}

/**
 * The root file system of a container, detached. Where its user namespace maps ids the layers, whose ids
 * are the image's, are shown through the mapping; the upper directory holds what processes of the
 * container write, and so has the host's ids in it. `label` is its SELinux context, where that is on.
 */
export function mountRoot(snapshot: OverlayDirectories, ids: ShownIds | undefined, label?: string): Fd {
  return withShownIds(snapshot.lowerDirs, ids, (lowerDirs) =>
    mountOverlay({ ...snapshot, lowerDirs }, label),
  );
}

/** What processes may have at most: in a user namespace that they have just entered, everything within that. */
export function availableCapabilities(
  { capabilities }: Pick<Runtime, "capabilities">,
  mappings: IdMappings | undefined,
): ReadonlySet<CapabilityName> {
  return mappings === undefined ? capabilities : ALL_CAPABILITIES;
}

/** Where a root file system is attached on its way in: what only the host's root may look into is no place for another. */
export function rootMountPoint({ paths }: Pick<Runtime, "paths">, mappings: IdMappings | undefined): string {
  return mappings === undefined ? paths.rootMountPoint : COMMON_MOUNT_POINT;
}

/** How the ids of layers are shown with `mappings`; undefined for as they are. */
export function shownIds(
  { userNamespaces }: Pick<Runtime, "userNamespaces">,
  mappings: IdMappings | undefined,
): ShownIds | undefined {
  if (mappings === undefined) return undefined;
  return { mappings, attachAt: userNamespaces.supported ? userNamespaces.attachAt : undefined };
}

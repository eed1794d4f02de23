// SPDX-License-Identifier: Apache-2.0
import {
  type IDMapping,
  type LinuxContainerSecurityContext,
  type LinuxSandboxSecurityContext,
  NamespaceMode,
  type NamespaceOption,
  type UserNamespace,
} from "../gen/runtime/v1/api_pb.ts";
import { invalid } from "./validate-fields.ts";

/** The highest id; (uid_t) -1 is none. */
const MAX_ID = 2 ** 32 - 2;
/** The kernel takes a map of one page at most, and of 340 lines (user_namespaces(7)). */
const MAX_MAPPINGS = 100;

export function checkUserNamespace(path: string, options: UserNamespace): void {
  const { mode, uids, gids } = options;
  if (mode === NamespaceMode.POD) {
    checkWholeMapping(`${path}.uids`, uids);
    checkWholeMapping(`${path}.gids`, gids);
    return;
  }
  if (mode !== NamespaceMode.NODE) invalid(`${path}.mode`, "must be POD or NODE");
  if (uids.length > 0) invalid(`${path}.uids`, "must be empty with mode NODE");
  if (gids.length > 0) invalid(`${path}.gids`, "must be empty with mode NODE");
}

/** One range that begins with root: what pods with user namespaces are given. */
function checkWholeMapping(path: string, mappings: readonly IDMapping[]): void {
  if (mappings.length !== 1) invalid(path, `must have exactly one mapping, but has ${mappings.length}`);
  for (const mapping of mappings) {
    checkMapping(`${path}[0]`, mapping);
    if (mapping.containerId !== 0) {
      invalid(`${path}[0].container_id`, `must be 0, so that root is mapped, but is ${mapping.containerId}`);
    }
  }
}

function checkMapping(path: string, { containerId, hostId, length }: IDMapping): void {
  if (length < 1) invalid(`${path}.length`, "must be at least 1");
  if (hostId + length - 1 > MAX_ID) {
    invalid(`${path}.length`, `must not lead beyond ${MAX_ID}: ${length} ids from ${hostId} on do`);
  }
  if (containerId + length - 1 > MAX_ID) {
    invalid(`${path}.length`, `must not lead beyond ${MAX_ID}: ${length} ids from ${containerId} on do`);
  }
}

/** The mappings of a mount: both or none, and no id twice on either side. */
export function checkMountMappings(
  path: string,
  mount: { readonly uidMappings: readonly IDMapping[]; readonly gidMappings: readonly IDMapping[] },
): void {
  for (const [field, other] of [
    ["uidMappings", "gidMappings"],
    ["gidMappings", "uidMappings"],
  ] as const) {
    const mappings = mount[field];
    if (mappings.length === 0 && mount[other].length > 0) {
      invalid(`${path}.${field}`, `must be set together with ${other}`);
    }
    if (mappings.length > MAX_MAPPINGS) {
      invalid(`${path}.${field}`, `must not have more than ${MAX_MAPPINGS} entries`);
    }
    for (const [index, mapping] of mappings.entries()) checkMapping(`${path}.${field}[${index}]`, mapping);
    checkOverlap(`${path}.${field}`, mappings, "containerId", "container_id");
    checkOverlap(`${path}.${field}`, mappings, "hostId", "host_id");
  }
}

function checkOverlap(
  path: string,
  mappings: readonly IDMapping[],
  side: "containerId" | "hostId",
  field: string,
): void {
  for (const [index, mapping] of mappings.entries()) {
    const earlier = mappings
      .slice(0, index)
      .findIndex(
        (other) => mapping[side] < other[side] + other.length && other[side] < mapping[side] + mapping.length,
      );
    if (earlier >= 0) invalid(`${path}[${index}].${field}`, `must not overlap with that of entry ${earlier}`);
  }
}

/** What a pod with a user namespace of its own cannot have beside it. */
export function checkWithinUserNamespace(
  path: string,
  context: LinuxSandboxSecurityContext | LinuxContainerSecurityContext,
): void {
  const options = context.namespaceOptions;
  if (options?.usernsOptions?.mode !== NamespaceMode.POD) return;
  if (context.privileged) {
    invalid(`${path}.privileged`, "must not be set in a pod with a user namespace of its own");
  }
  checkNamespacesWithin(`${path}.namespace_options`, options);
  const [uids, gids] = [options.usernsOptions.uids, options.usernsOptions.gids].map(
    ([mapping]) => mapping?.length ?? 0,
  ) as [number, number];
  checkId(`${path}.run_as_user`, context.runAsUser?.value, uids);
  checkId(`${path}.run_as_group`, context.runAsGroup?.value, gids);
  for (const [index, group] of context.supplementalGroups.entries()) {
    checkId(`${path}.supplemental_groups[${index}]`, group, gids);
  }
}

/** The file systems of the host's processes and message queues could not be mounted. */
function checkNamespacesWithin(path: string, options: NamespaceOption): void {
  for (const field of ["pid", "ipc"] as const) {
    if (options[field] !== NamespaceMode.NODE) continue;
    invalid(`${path}.${field}`, "must not be NODE in a pod with a user namespace of its own");
  }
}

function checkId(path: string, id: bigint | undefined, mapped: number): void {
  if (id === undefined || id < BigInt(mapped)) return;
  invalid(path, `must be below ${mapped}, which is what the user namespace maps, but is ${id}`);
}

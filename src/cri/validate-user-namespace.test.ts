// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import { check, container, containerSecurity, sandboxSecurity } from "../../test/fixtures/request-verdict.ts";
import { NamespaceMode } from "../gen/runtime/v1/api_pb.ts";

const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;
const security = "config.linux.security_context";
const options = `${security}.namespace_options`;
const userns = `${options}.userns_options`;

interface Mapping {
  containerId?: number;
  hostId?: number;
  length?: number;
}

const range: Mapping = { containerId: 0, hostId: 65_536, length: 65_536 };
const asked = (uids: Mapping[], gids: Mapping[] = uids, mode: NamespaceMode = POD) => ({
  usernsOptions: { mode, uids, gids },
});
type SandboxSecurity = NonNullable<Parameters<typeof sandboxSecurity>[0]>;
const within = (more: object) =>
  sandboxSecurity({ namespaceOptions: asked([range]), ...more } as SandboxSecurity);
const mapped = (uids: Mapping[], gids?: Mapping[], mode?: NamespaceMode) =>
  sandboxSecurity({ namespaceOptions: asked(uids, gids, mode) });

describe("a pod's user namespace", () => {
  check([
    ["maps one range of users and one of groups", () => mapped([range])],
    ["may map them differently", () => mapped([range], [{ ...range, hostId: 200_000 }])],
    ["may map one id", () => mapped([{ hostId: 1000, length: 1 }])],
    ["may end at the highest id", () => mapped([{ hostId: 2 ** 32 - 2, length: 1 }])],
    ["may be the host's", () => mapped([], [], NODE)],
    ["needs users", () => mapped([], [range]), ["InvalidArgument", `${userns}.uids: must have exactly one`]],
    ["needs groups", () => mapped([range], []), ["InvalidArgument", `${userns}.gids: must have exactly one`]],
    [
      "may not have two ranges",
      () => mapped([range, { containerId: 65_536, hostId: 131_072, length: 1 }]),
      ["InvalidArgument", `${userns}.uids: must have exactly one mapping, but has 2`],
    ],
    [
      "needs root",
      () => mapped([{ ...range, containerId: 1 }]),
      ["InvalidArgument", `${userns}.uids[0].container_id: must be 0`],
    ],
    [
      "needs root's group",
      () => mapped([range], [{ ...range, containerId: 1 }]),
      ["InvalidArgument", `${userns}.gids[0].container_id: must be 0`],
    ],
    [
      "may not be empty",
      () => mapped([{ ...range, length: 0 }]),
      ["InvalidArgument", `${userns}.uids[0].length: must be at least 1`],
    ],
    [
      "may not lead to the id that means none",
      () => mapped([range], [{ hostId: 2 ** 32 - 2, length: 2 }]),
      ["InvalidArgument", `${userns}.gids[0].length: must not lead beyond 4294967294`],
    ],
    [
      "may not wrap around to the host's root",
      () => mapped([{ hostId: 2 ** 32 - 1, length: 2 ** 32 - 1 }]),
      ["InvalidArgument", `${userns}.uids[0].length: must not lead beyond`],
    ],
    [
      "of the host's may not map users",
      () => mapped([range], [], NODE),
      ["InvalidArgument", `${userns}.uids: must be empty`],
    ],
    [
      "of the host's may not map groups",
      () => mapped([], [range], NODE),
      ["InvalidArgument", `${userns}.gids: must be empty`],
    ],
    [
      "may not be each container's own",
      () => mapped([range], [range], CONTAINER),
      ["InvalidArgument", `${userns}.mode: must be POD or NODE`],
    ],
    [
      "may not be a target's",
      () => mapped([range], [range], TARGET),
      ["InvalidArgument", `${userns}.mode: must be POD or NODE`],
    ],
    [
      "is checked in a container too",
      () => containerSecurity({ namespaceOptions: asked([]) }),
      ["InvalidArgument", `${userns}.uids: must have exactly one mapping, but has 0`],
    ],
  ]);
});

describe("within a user namespace of its own a pod", () => {
  check([
    ["may have the host's network", () => within({ namespaceOptions: { ...asked([range]), network: NODE } })],
    ["may run as a user that is mapped", () => within({ runAsUser: { value: 65_535n } })],
    [
      "may not be privileged",
      () => within({ privileged: true }),
      ["InvalidArgument", `${security}.privileged: must not be set in a pod with a user namespace`],
    ],
    [
      "may not have the host's processes",
      () => within({ namespaceOptions: { ...asked([range]), pid: NODE } }),
      ["InvalidArgument", `${options}.pid: must not be NODE`],
    ],
    [
      "may not have the host's message queues",
      () => within({ namespaceOptions: { ...asked([range]), ipc: NODE } }),
      ["InvalidArgument", `${options}.ipc: must not be NODE`],
    ],
    [
      "may not run as a user that is not mapped",
      () => within({ runAsUser: { value: 65_536n } }),
      ["InvalidArgument", `${security}.run_as_user: must be below 65536`],
    ],
    [
      "may not run as a group that is not mapped",
      () => within({ runAsUser: { value: 1n }, runAsGroup: { value: 65_536n } }),
      ["InvalidArgument", `${security}.run_as_group: must be below 65536`],
    ],
    [
      "may not have a group that is not mapped",
      () => within({ supplementalGroups: [5n, 65_536n] }),
      ["InvalidArgument", `${security}.supplemental_groups[1]: must be below 65536`],
    ],
    [
      "may not have a privileged container",
      () => containerSecurity({ namespaceOptions: asked([range]), privileged: true }),
      ["InvalidArgument", `${security}.privileged: must not be set in a pod with a user namespace`],
    ],
  ]);
});

describe("an idmapped mount", () => {
  const at = "config.mounts[0]";
  const mount = (uidMappings: Mapping[], gidMappings: Mapping[] = uidMappings) =>
    container({ mounts: [{ containerPath: "/data", hostPath: "/srv", uidMappings, gidMappings }] });
  check([
    ["may map one range", () => mount([range])],
    ["may map several", () => mount([range, { containerId: 70_000, hostId: 1000, length: 1 }])],
    [
      "needs groups",
      () => mount([range], []),
      ["InvalidArgument", `${at}.gidMappings: must be set together`],
    ],
    ["needs users", () => mount([], [range]), ["InvalidArgument", `${at}.uidMappings: must be set together`]],
    [
      "may not map nothing",
      () => mount([range, { length: 0 }]),
      ["InvalidArgument", `${at}.uidMappings[1].length: must be at least 1`],
    ],
    [
      "may not lead beyond the highest id",
      () => mount([{ containerId: 2 ** 32 - 2, length: 2 }]),
      ["InvalidArgument", `${at}.uidMappings[0].length: must not lead beyond`],
    ],
    [
      "may not map an id twice",
      () => mount([range, { containerId: 65_535, hostId: 1000, length: 1 }]),
      ["InvalidArgument", `${at}.uidMappings[1].container_id: must not overlap with that of entry 0`],
    ],
    [
      "may not map two ids to one",
      () => mount([range], [range, { containerId: 70_000, hostId: 65_536, length: 1 }]),
      ["InvalidArgument", `${at}.gidMappings[1].host_id: must not overlap with that of entry 0`],
    ],
    [
      "may not have more ranges than the kernel takes",
      () => mount(Array.from({ length: 101 }, (_, id) => ({ containerId: id, hostId: id, length: 1 }))),
      ["InvalidArgument", `${at}.uidMappings: must not have more than 100 entries`],
    ],
  ]);
});

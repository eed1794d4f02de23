// SPDX-License-Identifier: Apache-2.0
import { describe } from "bun:test";
import { check, containerSecurity, type Row, sandboxSecurity } from "../../test/fixtures/request-verdict.ts";
import { NamespaceMode, SecurityProfile_ProfileType as ProfileType } from "../gen/runtime/v1/api_pb.ts";

const security = "config.linux.security_context";

describe("a sandbox's security context", () => {
  check([
    [
      "may have the namespaces of a pod or of the host",
      () =>
        sandboxSecurity({
          namespaceOptions: {
            network: NamespaceMode.NODE,
            pid: NamespaceMode.CONTAINER,
            ipc: NamespaceMode.POD,
          },
        }),
    ],
    [
      "may not have a network of each container's own",
      () => sandboxSecurity({ namespaceOptions: { network: NamespaceMode.CONTAINER } }),
      ["InvalidArgument", `${security}.namespace_options.network: must be POD or NODE`],
    ],
    [
      "may not have an IPC namespace of a target",
      () => sandboxSecurity({ namespaceOptions: { ipc: NamespaceMode.TARGET } }),
      ["InvalidArgument", `${security}.namespace_options.ipc: must be POD or NODE`],
    ],
    [
      "may not have the processes of a target",
      () => sandboxSecurity({ namespaceOptions: { pid: NamespaceMode.TARGET, targetId: "a" } }),
      ["InvalidArgument", `${security}.namespace_options.pid: TARGET is for containers only`],
    ],
    [
      "may not have an unknown namespace mode",
      () => sandboxSecurity({ namespaceOptions: { pid: 4 as never } }),
      ["InvalidArgument", `${security}.namespace_options.pid: 4 is no value of NamespaceMode`],
    ],
    [
      "may not have a group without a user",
      () => sandboxSecurity({ runAsGroup: { value: 1n } }),
      ["InvalidArgument", `${security}.run_as_group: must not be set without run_as_user`],
    ],
    ["may have the highest user id", () => sandboxSecurity({ runAsUser: { value: 2n ** 32n - 2n } })],
    [
      "may not have the user id that means none",
      () => sandboxSecurity({ runAsUser: { value: 2n ** 32n - 1n } }),
      ["InvalidArgument", `${security}.run_as_user: must be between 0 and 4294967294`],
    ],
    [
      "may not have a negative supplemental group",
      () => sandboxSecurity({ supplementalGroups: [1n, -1n] }),
      ["InvalidArgument", `${security}.supplemental_groups[1]: must be between 0 and`],
    ],
    [
      "may be confined by AppArmor's default",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.RuntimeDefault } }),
    ],
    [
      "may have an AppArmor profile of its own",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.Localhost, localhostRef: "mine" } }),
    ],
    [
      "needs the name of an AppArmor profile",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.Localhost, localhostRef: "localhost/" } }),
      ["InvalidArgument", `${security}.apparmor.localhost_ref: must not be empty`],
    ],
    [
      "may not have lines in the name of an AppArmor profile",
      () => sandboxSecurity({ apparmor: { profileType: ProfileType.Localhost, localhostRef: "a\nexec b" } }),
      ["InvalidArgument", `${security}.apparmor.localhost_ref: must not contain control characters`],
    ],
    [
      "may not have an AppArmor profile unused",
      () => sandboxSecurity({ apparmor: { localhostRef: "mine" } }),
      ["InvalidArgument", `${security}.apparmor.localhost_ref: is for profile_type Localhost only`],
    ],
    ["may have empty SELinux options", () => sandboxSecurity({ selinuxOptions: {} })],
    ...["s0", "s0:c1", "s0:c4,c5", "s0-s15:c0.c1023", "s0:c1-s1:c1,c3.c5"].map(
      (level): Row => [
        `may have the SELinux level ${level}`,
        () => sandboxSecurity({ selinuxOptions: { level } }),
      ],
    ),
    ...["s0,c4,c5", "c1", "s0:", "s0:c1,", "s0:c1:c2", "s0 ", "SystemLow", `s0:c1${",c1".repeat(100)}`].map(
      (level): Row => [
        `may not have the SELinux level ${level.slice(0, 20)}`,
        () => sandboxSecurity({ selinuxOptions: { level } }),
        ["InvalidArgument", `${security}.selinux_options.level: must be a level`],
      ],
    ),
    [
      "may not have an SELinux type with a colon",
      () => sandboxSecurity({ selinuxOptions: { type: "a:b" } }),
      ["InvalidArgument", `${security}.selinux_options.type: must be a name of the policy's, but is "a:b"`],
    ],
  ]);
});

describe("a container's security context", () => {
  check([
    [
      "may have processes of a target",
      () => containerSecurity({ namespaceOptions: { pid: 3, targetId: "a" } }),
    ],
    [
      "needs the target's id",
      () => containerSecurity({ namespaceOptions: { pid: NamespaceMode.TARGET } }),
      ["InvalidArgument", `${security}.namespace_options.target_id: must not be empty`],
    ],
    [
      "may not name a target without need",
      () => containerSecurity({ namespaceOptions: { targetId: "a" } }),
      ["InvalidArgument", `${security}.namespace_options.target_id: is for pid TARGET only`],
    ],
    [
      "may not have a user by id and by name",
      () => containerSecurity({ runAsUser: { value: 0n }, runAsUsername: "root" }),
      ["InvalidArgument", `${security}.run_as_username: must not be set together with run_as_user`],
    ],
    [
      "may have a group with a user name",
      () => containerSecurity({ runAsUsername: "nobody", runAsGroup: { value: 5n } }),
    ],
    [
      "may not have a group without a user",
      () => containerSecurity({ runAsGroup: { value: 5n } }),
      ["InvalidArgument", `${security}.run_as_group: must not be set without run_as_user or run_as_username`],
    ],
    [
      "may not have a line of passwd as user name",
      () => containerSecurity({ runAsUsername: "a:0" }),
      ["InvalidArgument", `${security}.run_as_username: must not contain a colon`],
    ],
    [
      "may have capabilities in either case, and all",
      () =>
        containerSecurity({
          capabilities: { addCapabilities: ["net_admin", "SYS_TIME"], dropCapabilities: ["ALL"] },
        }),
    ],
    [
      "may not have an unknown capability",
      () => containerSecurity({ capabilities: { dropCapabilities: ["CHOWN", "FLY"] } }),
      ["InvalidArgument", `${security}.capabilities.drop_capabilities[1]: "FLY" is no capability`],
    ],
    [
      "needs absolute masked paths",
      () => containerSecurity({ maskedPaths: ["/proc/kcore", "proc"] }),
      ["InvalidArgument", `${security}.masked_paths[1]: must be an absolute path`],
    ],
    [
      "needs absolute read-only paths",
      () => containerSecurity({ readonlyPaths: [""] }),
      ["InvalidArgument", `${security}.readonly_paths[0]: must not be empty`],
    ],
    [
      "may have a seccomp profile of its own",
      () =>
        containerSecurity({ seccomp: { profileType: ProfileType.Localhost, localhostRef: "/etc/p.json" } }),
    ],
    [
      "needs the path of a seccomp profile",
      () => containerSecurity({ seccomp: { profileType: ProfileType.Localhost, localhostRef: "p.json" } }),
      ["InvalidArgument", `${security}.seccomp.localhost_ref: must be an absolute path`],
    ],
    [
      "may not have a seccomp profile unused",
      () => containerSecurity({ seccomp: { localhostRef: "/etc/p.json" } }),
      ["InvalidArgument", `${security}.seccomp.localhost_ref: is for profile_type Localhost only`],
    ],
    [
      "may not have an unknown kind of profile",
      () => containerSecurity({ seccomp: { profileType: 9 as never } }),
      ["InvalidArgument", `${security}.seccomp.profile_type: 9 is no value of ProfileType`],
    ],
    [
      "may have a legacy seccomp profile",
      () => containerSecurity({ seccompProfilePath: "localhost//etc/p.json" }),
    ],
    [
      "may not have an unknown legacy seccomp profile",
      () => containerSecurity({ seccompProfilePath: "strict" }),
      ["InvalidArgument", `${security}.seccomp_profile_path: must be runtime/default`],
    ],
    [
      "may have an AppArmor profile of its own by the legacy field",
      () => containerSecurity({ apparmorProfile: "localhost/mine" }),
    ],
    [
      "may not have another word in the legacy field",
      () => containerSecurity({ apparmorProfile: "mine" }),
      [
        "InvalidArgument",
        `${security}.apparmor_profile: must be runtime/default, unconfined or localhost/NAME`,
      ],
    ],
    [
      "may not mask the root",
      () => containerSecurity({ maskedPaths: ["/./"] }),
      ["InvalidArgument", `${security}.masked_paths[0]: must not be the root, but is "/./"`],
    ],
    [
      "may not have more masked paths than a launch has room for",
      () => containerSecurity({ maskedPaths: Array(1025).fill("/proc/kcore") }),
      ["InvalidArgument", `${security}.masked_paths: must not have more than 1024 entries`],
    ],
  ]);
});

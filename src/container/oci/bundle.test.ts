// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { Fd } from "../../linux/fd.ts";
import { defaultSeccompProfile } from "../../linux/seccomp/default-profile.ts";
import type { RuntimeMount, RuntimeSpec } from "../../oci/runtime-spec.ts";
import { bundleConfig, execProcess } from "./bundle.ts";

const mount = (destination: string, more: Partial<RuntimeMount> = {}): RuntimeMount => ({
  destination,
  type: "bind",
  source: `/host${destination}`,
  options: ["rbind", "rprivate"],
  ...more,
});
const image = mount("/image", {
  type: "overlay",
  source: "sha256:1",
  options: ["ro", "lowerdir+=/layers/a", "x-podrt.sub-path=bin"],
});
const process = {
  terminal: false,
  args: ["app"],
  env: ["A=b"],
  cwd: "/",
} as unknown as RuntimeSpec["process"];
const spec = {
  process,
  root: { path: "/upper", readonly: false },
  hostname: "pod",
  mounts: [
    mount("/data"),
    mount("/sys/fs/cgroup", { type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "ro"] }),
    mount("/sys/fs/cgroup/memory", { type: "cgroup" }),
    mount("/var/lib/db", { source: "/var/lib/db", options: ["rbind", "x-podrt.image-volume"] }),
    image,
  ],
  annotations: {},
  linux: {
    namespaces: [{ type: "network", path: "/proc/7/ns/net" }],
    devices: [],
    cgroupsPath: "/podrt/pod/app",
    resources: { devices: [{ allow: true, type: "c", major: 10, minor: 229, access: "rw" }] },
    maskedPaths: ["/proc/keys"],
    readonlyPaths: [],
  },
} as unknown as RuntimeSpec;
const places = { stage: "/stage", root: {} as Fd, volumes: new Map([[image, "volume0"]]) };

interface Written {
  readonly hostname?: string;
  readonly root: object;
  readonly mounts: readonly RuntimeMount[];
  readonly linux: {
    readonly resources: { readonly devices: readonly object[] };
    readonly seccomp?: {
      readonly syscalls: readonly { readonly args: readonly { readonly value: unknown }[] }[];
    };
  };
}
const written = (...rest: Parameters<typeof bundleConfig>) =>
  JSON.parse(JSON.stringify(bundleConfig(...rest))) as Written;

test("a bundle names what is on the stage, and nothing that podrt alone understands", () => {
  const { hostname, root, mounts } = written(spec, undefined, places);
  expect(hostname).toBeUndefined();
  expect(root).toEqual({ path: "/stage/root", readonly: false });
  expect(mounts).toEqual([
    mount("/data"),
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "ro"] },
    { destination: "/image", type: "bind", source: "/stage/volume0", options: ["rbind", "rprivate", "ro"] },
  ]);
  expect(JSON.stringify(mounts)).not.toContain("x-podrt");
});

test("devices are the usual ones and those of the container, and everything else is refused first", () => {
  const { devices } = written(spec, undefined, places).linux.resources;
  expect(devices[0]).toEqual({ allow: false, type: "a", access: "rwm" });
  expect(devices.at(-1)).toEqual({ allow: true, type: "c", major: 10, minor: 229, access: "rw" });
});

test("a seccomp profile is told with plain numbers, and one that they cannot hold is refused", () => {
  const profile = defaultSeccompProfile(new Set());
  const { seccomp } = written(spec, profile, places).linux;
  expect(seccomp?.syscalls.length).toBe(profile.syscalls.length);
  for (const { args } of seccomp?.syscalls ?? []) {
    for (const { value } of args) expect(value).toBeNumber();
  }
  const huge = { index: 0, value: 2n ** 63n, valueTwo: 0n, op: "SCMP_CMP_EQ" } as const;
  const syscalls = [{ names: ["ioctl"], action: "SCMP_ACT_ALLOW", args: [huge] } as const];
  expect(() => bundleConfig(spec, { ...profile, syscalls }, places)).toThrow(
    "config.linux.security_context.seccomp",
  );
});

test("an exec has the container's environment, and a terminal's name where it has one", () => {
  expect(execProcess(process, ["sh"], true)).toMatchObject({
    args: ["sh"],
    env: ["A=b", "TERM=xterm"],
    terminal: true,
  });
  expect(execProcess(process, ["sh"], false)).toMatchObject({ env: ["A=b"], terminal: false });
});

// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ContainerConfigSchema, MountPropagation } from "../gen/runtime/v1/api_pb.ts";
import { ERRNO } from "../linux/abi/errno.ts";
import { replaceKernel } from "../linux/syscall.ts";
import type { RuntimeMount } from "../oci/runtime-spec.ts";
import { mountSpec, rootPropagation } from "./mount-spec.ts";

type Mounts = NonNullable<MessageInitShape<typeof ContainerConfigSchema>["mounts"]>;

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-mounts-"));
});

afterAll(() => rmSync(dir, { recursive: true }));

const files = { hosts: "/f/hosts", hostname: "/f/hostname", resolvConf: "/f/resolv.conf", shm: "/f/shm" };
const volume = (destination: string): RuntimeMount => ({
  destination,
  type: "bind",
  source: destination,
  options: [],
});

function mounted(mounts: Mounts, volumes: readonly RuntimeMount[] = []): RuntimeMount[] {
  const config = create(ContainerConfigSchema, { mounts });
  return mountSpec(config, {
    files,
    privileged: false,
    volumes,
    images: new Map(),
    hostNetwork: false,
    idMappings: undefined,
  });
}

const destinations = (mounts: readonly RuntimeMount[]) => mounts.map(({ destination }) => destination);
const bind = (containerPath: string, more: Mounts[number] = {}) =>
  ({ containerPath, hostPath: dir, ...more }) as Mounts[number];

describe("a mount of the caller's", () => {
  test("has the options that it asks for", () => {
    const optionsOf = (more: Mounts[number]) => mounted([bind("/data", more)]).at(-1)?.options;
    expect(optionsOf({})).toEqual(["rbind", "rprivate"]);
    expect(optionsOf({ readonly: true })).toEqual(["rbind", "rprivate", "ro"]);
    expect(optionsOf({ readonly: true, recursiveReadOnly: true })).toEqual(["rbind", "rprivate", "rro"]);
    expect(optionsOf({ readonly: true, mountOptions: ["noexec", "nodev"] })).toEqual([
      "rbind",
      "rprivate",
      "ro",
      "noexec",
      "nodev",
    ]);
  });

  test("takes the place of the built-in one, whose name it may spell as it likes", () => {
    const built = destinations(mounted([]));
    const replaced = destinations(mounted([bind("//etc/./hosts/")]));
    expect(replaced).toEqual([...built.filter((path) => path !== "/etc/hosts"), "/etc/hosts"]);
  });

  test("at /dev and at /sys/fs/cgroup takes the place of what is below too", () => {
    for (const path of ["/dev", "/sys/fs/cgroup"]) {
      const left = destinations(mounted([bind(path)])).filter((other) => `${other}/`.startsWith(`${path}/`));
      expect(left).toEqual([path]);
    }
    expect(destinations(mounted([bind("/sys")]))).toContain("/sys/fs/cgroup");
  });

  test("covers volumes of the image, at their path and below", () => {
    const volumes = ["/data", "/data/deep", "/database", "/devices"].map(volume);
    const left = destinations(mounted([bind("/data"), bind("/dev")], volumes));
    expect(left.filter((path) => volumes.some(({ destination }) => destination === path))).toEqual([
      "/database",
      "/devices",
      "/data",
    ]);
  });

  test("on /proc has to be a proc file system", () => {
    expect(() => mounted([bind("/proc")])).toThrow(
      `config.mounts[0].host_path: ${dir} is no proc file system`,
    );
    expect(mounted([bind("/proc", { hostPath: "/proc" })]).at(-1)).toMatchObject({
      destination: "/proc",
      source: "/proc",
    });
  });

  test("that is recursively read-only fails as the kubelet expects it where the kernel cannot do that", () => {
    const putBack = replaceKernel((real) => ({
      call: (name, args) => (name === "mount_setattr" ? -ERRNO.ENOSYS : real.call(name, args)),
    }));
    try {
      const asked = bind("/data", { readonly: true, recursiveReadOnly: true });
      expect(() => mounted([asked])).toThrow(/^RROUnsupported: config\.mounts\[0\]\.recursive_read_only: /);
    } finally {
      putBack();
    }
  });
});

test("the root takes part in the exchange of mounts as far as a mount of the host's does", () => {
  const of = (mounts: Mounts) => rootPropagation(create(ContainerConfigSchema, { mounts }));
  const [slave, shared] = [
    { propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER },
    { propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
  ];
  expect(of([{}])).toBeUndefined();
  expect(of([{}, slave])).toBe("slave");
  expect(of([slave, shared, slave])).toBe("shared");
  // An image is mounted for its container alone.
  expect(of([{ ...shared, image: { image: "x" } }])).toBeUndefined();
});

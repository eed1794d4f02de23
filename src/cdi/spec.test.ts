// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseCdiSpec } from "./spec.ts";

const minimal = {
  cdiVersion: "0.3.0",
  kind: "vendor.com/device",
  devices: [{ name: "one", containerEdits: {} }],
};

function parse(changes: object): unknown {
  return parseCdiSpec(JSON.stringify({ ...minimal, ...changes }), "json");
}

const device = (containerEdits: object) => ({ devices: [{ name: "one", containerEdits }] });

test("a specification as vendors write it is read from YAML, with everything that it leaves out", () => {
  const text = `---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1
    options: [ro, nosuid, nodev, rbind, rprivate]
devices:
- name: "0"
  annotations: {uuid: GPU-1}
  containerEdits:
    deviceNodes:
    - {path: /dev/nvidia0, hostPath: /dev/nvidia0, type: c, major: 195, permissions: rw, fileMode: 438, gid: 44}
    additionalGids: [0, 44]
`;
  const spec = parseCdiSpec(text, "yaml");
  expect(spec.kind).toBe("nvidia.com/gpu");
  expect(spec.containerEdits?.deviceNodes).toEqual([{ path: "/dev/nvidiactl" }]);
  expect(spec.devices[0]).toMatchObject({
    name: "0",
    containerEdits: { env: [], hooks: [], mounts: [], additionalGids: [0, 44] },
  });
});

test.each(["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"])(
  "version %s is known",
  (cdiVersion) => {
    expect(() => parse({ cdiVersion })).not.toThrow();
  },
);

test.each([
  ["an unknown version", { cdiVersion: "2.0.0" }, "cdiVersion: is no version from 0.3.0 to 1.1.0"],
  ["no version", { cdiVersion: undefined }, "cdiVersion: "],
  ["a kind without a class", { kind: "vendor.com" }, "kind: is no kind as in vendor.com/class"],
  ["a kind that is a path", { kind: "vendor.com/../x" }, "kind: is no kind"],
  ["no devices", { devices: [] }, "devices: "],
  [
    "a device without a proper name",
    { devices: [{ name: "-", containerEdits: {} }] },
    "devices.0.name: is no name",
  ],
  ["a device twice", { devices: [...minimal.devices, ...minimal.devices] }, "devices: one is there twice"],
  ["a field that does not exist", { container: {} }, "container: "],
  ["an edit that does not exist", device({ sysctls: [] }), "devices.0.containerEdits.sysctls: "],
  ["a variable without a name", device({ env: ["=x"] }), "containerEdits.env.0: is no variable"],
  [
    "a relative path",
    device({ deviceNodes: [{ path: "dev/x" }] }),
    "deviceNodes.0.path: is no absolute path",
  ],
  [
    "a NUL in a path",
    device({ mounts: [{ hostPath: "/a\0b", containerPath: "/c" }] }),
    "hostPath: has a NUL byte",
  ],
  [
    "unknown permissions",
    device({ deviceNodes: [{ path: "/dev/x", permissions: "rx" }] }),
    "permissions: is not made",
  ],
  ["an unknown type of device", device({ deviceNodes: [{ path: "/dev/x", type: "d" }] }), "type: "],
  ["a number too large", device({ deviceNodes: [{ path: "/dev/x", major: 2 ** 32 }] }), "major: "],
  ["an unknown hook", device({ hooks: [{ hookName: "before", path: "/x" }] }), "hookName: "],
  ["a group that is none", device({ additionalGids: [-1] }), "additionalGids.0: "],
])("%s is refused with its place", (_, changes, problem) => {
  expect(() => parse(changes)).toThrow(problem);
});

test("what is no JSON and no YAML is refused in one line", () => {
  expect(() => parseCdiSpec("{", "json")).toThrow(/^is no JSON: [^\n]*$/);
  expect(() => parseCdiSpec("a: [b\nc: d", "yaml")).toThrow(/^is no YAML: [^\n]*$/);
  expect(() => parseCdiSpec("", "yaml")).toThrow("document: ");
});

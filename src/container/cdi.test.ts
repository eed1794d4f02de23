// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SourcedEdits } from "../cdi/registry.ts";
import { parseCdiSpec } from "../cdi/spec.ts";
import type { RuntimeSpec } from "../oci/runtime-spec.ts";
import { applyCdiEdits } from "./cdi.ts";

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-cdi-"));
  writeFileSync(join(dir, "library"), "");
  symlinkSync("library", join(dir, "link"));
});

afterAll(() => rmSync(dir, { recursive: true }));

const mount = { destination: "/opt/a", type: "tmpfs", source: "tmpfs", options: [] };
const node = { path: "/dev/a", type: "c", major: 1, minor: 3, fileMode: 0o600, uid: 0, gid: 0 } as const;
const rule = { allow: true, type: "c", major: 1, minor: 3, access: "r" } as const;

const spec = {
  process: { user: { uid: 1000, gid: 2000, additionalGids: [5, 2000] }, env: ["A=1", "B=2"] },
  mounts: [mount, { ...mount, destination: "/opt/b" }],
  linux: { devices: [node], resources: { devices: [rule] } },
} as unknown as RuntimeSpec;

function edits(containerEdits: object): SourcedEdits {
  const document = { cdiVersion: "1.0.0", kind: "v/c", devices: [{ name: "d", containerEdits }] };
  const parsed = parseCdiSpec(JSON.stringify(document), "json");
  return { file: "/etc/cdi/v.json", edits: parsed.devices[0]!.containerEdits };
}

function edited(...containerEdits: readonly object[]): RuntimeSpec {
  return applyCdiEdits(spec, containerEdits.map(edits));
}

test("nothing to edit leaves the configuration as it is", () => {
  expect(edited()).toBe(spec);
  expect(edited({})).toEqual(spec);
});

test("variables replace those of the same name and come after the others", () => {
  expect(edited({ env: ["B=3", "C=4=5"] }, { env: ["C=6"] }).process.env).toEqual(["A=1", "B=3", "C=6"]);
});

test("groups are added once, in order, and none for zero", () => {
  expect(edited({ additionalGids: [44, 0, 5, 44] }).process.user.additionalGids).toEqual([5, 44, 2000]);
});

test("a node that says everything is taken as it is", () => {
  const full = {
    path: "/dev/x",
    type: "b",
    major: 7,
    minor: 9,
    fileMode: 0o640,
    permissions: "rw",
    uid: 3,
    gid: 4,
  };
  const { devices, resources } = edited({ deviceNodes: [full] }).linux;
  expect(devices).toEqual([
    node,
    { path: "/dev/x", type: "b", major: 7, minor: 9, fileMode: 0o640, uid: 3, gid: 4 },
  ]);
  expect(resources.devices).toEqual([rule, { allow: true, type: "b", major: 7, minor: 9, access: "rw" }]);
});

test("what a node leaves out is the host's; its owner is whoever is to use it", () => {
  const { devices, resources } = edited({
    deviceNodes: [{ path: "/dev/mine", hostPath: "/dev/zero" }],
  }).linux;
  expect(devices.at(-1)).toEqual({
    path: "/dev/mine",
    type: "c",
    major: 1,
    minor: 5,
    fileMode: 0o666,
    uid: 1000,
    gid: 2000,
  });
  expect(resources.devices?.at(-1)).toEqual({ allow: true, type: "c", major: 1, minor: 5, access: "rwm" });
});

test("a node and a mount replace what was at their path", () => {
  const result = edited(
    { deviceNodes: [{ path: "/dev//a", type: "u", major: 9, minor: 1 }] },
    { mounts: [{ hostPath: join(dir, "link"), containerPath: "/opt/a/", options: ["ro", "bind"] }] },
  );
  expect(result.linux.devices.map(({ path, type, major }) => [path, type, major])).toEqual([
    ["/dev/a", "c", 9],
  ]);
  expect(result.mounts).toEqual([
    { ...mount, destination: "/opt/b" },
    { destination: "/opt/a", type: "bind", source: join(dir, "library"), options: ["ro", "bind"] },
  ]);
});

test("a mount without a word about its kind is a bind of all that is there", () => {
  const [last] = edited({ mounts: [{ hostPath: dir, containerPath: "/x" }] }).mounts.slice(-1);
  expect(last?.options).toEqual(["rbind"]);
});

test.each([
  [
    "a device that is not there",
    { deviceNodes: [{ path: "/dev/nowhere" }] },
    "cannot use the device /dev/nowhere: ENOENT",
  ],
  ["a device that is none", { deviceNodes: [{ path: "/etc/passwd" }] }, "/etc/passwd is no device"],
  [
    "a device of another type",
    { deviceNodes: [{ path: "/dev/null", type: "b" }] },
    "/dev/null is to be a device of type b, but is one of type c",
  ],
  ["a named pipe", { deviceNodes: [{ path: "/dev/x", type: "p" }] }, "/dev/x is a named pipe"],
  [
    "a mount of nothing",
    { mounts: [{ hostPath: "/nowhere", containerPath: "/x" }] },
    "the mount on /x cannot be made: ENOENT",
  ],
  [
    "a mount of a relative path",
    { mounts: [{ hostPath: "etc", containerPath: "/x" }] },
    "the mount on /x cannot be made: etc is no absolute path",
  ],
  [
    "a mount on /proc",
    { mounts: [{ hostPath: "/etc", containerPath: "/proc/sys" }] },
    "the mount on /proc/sys cannot be made: nothing of a device's may be there",
  ],
  [
    "a mount of another type",
    { mounts: [{ hostPath: "tmpfs", containerPath: "/x", type: "tmpfs" }] },
    "the mount on /x is of type tmpfs, and podrt mounts only binds for a device",
  ],
  [
    "an option that is not known",
    { mounts: [{ hostPath: "/etc", containerPath: "/x", options: ["bind", "size=1"] }] },
    'the mount on /x has the option "size=1", which podrt does not honour',
  ],
])("%s is refused with the file", (_, containerEdits, problem) => {
  expect(() => edited(containerEdits)).toThrow(`/etc/cdi/v.json: ${problem}`);
});

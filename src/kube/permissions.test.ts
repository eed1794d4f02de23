// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { parseManifest } from "./manifest/parse.ts";
import { allowedTree, checkPermissions, isCovered, needsOf } from "./permissions.ts";

function needs(container: string, spec = ""): string[] {
  const text = `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, ${container}}], ${spec}}\n`;
  const [pod] = parseManifest([{ name: "f", text }]).pods;
  return needsOf(pod!.spec).map(({ permission, path }) => `${permission} ${path}`);
}
const volume = (hostPath: string, mounts: string) =>
  needs(`volumeMounts: [${mounts}]`, `volumes: [{name: v, hostPath: ${hostPath}}]`);

test("an ordinary pod needs nothing", () => {
  const context =
    "securityContext: {runAsUser: 0, capabilities: {add: [CHOWN], drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}";
  const spec =
    "volumes: [{name: v, emptyDir: {}}], securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}";
  expect(needs(`${context}, ports: [{containerPort: 80, hostPort: 8080}]`, spec)).toEqual([]);
});

test.each([
  ["hostNetwork: true", "host-network spec.hostNetwork"],
  ["hostPID: true", "host-pid spec.hostPID"],
  ["hostIPC: true", "host-ipc spec.hostIPC"],
  [
    "securityContext: {seccompProfile: {type: Unconfined}}",
    "unconfined=seccomp spec.securityContext.seccompProfile.type",
  ],
  [
    "securityContext: {appArmorProfile: {type: Unconfined}}",
    "unconfined=apparmor spec.securityContext.appArmorProfile.type",
  ],
  ["securityContext: {seLinuxOptions: {type: spc_t}}", "selinux spec.securityContext.seLinuxOptions"],
  [
    "securityContext: {sysctls: [{name: kernel/msgmax, value: '1'}]}",
    "sysctl=kernel.msgmax spec.securityContext.sysctls[0].name",
  ],
])("a pod with %s", (spec, permission) => {
  expect(needs("", spec)).toEqual([permission]);
});

test.each([
  [
    "securityContext: {privileged: true, capabilities: {add: [SYS_TIME]}}",
    "privileged spec.containers[0].securityContext.privileged",
  ],
  [
    "securityContext: {capabilities: {add: [SYS_TIME]}}",
    "cap=SYS_TIME spec.containers[0].securityContext.capabilities.add[0]",
  ],
  [
    "securityContext: {seccompProfile: {type: Unconfined}}",
    "unconfined=seccomp spec.containers[0].securityContext.seccompProfile.type",
  ],
  ["ports: [{containerPort: 80, hostPort: 80}]", "port=80 spec.containers[0].ports[0].hostPort"],
])("a container with %s", (container, permission) => {
  expect(needs(container)).toEqual([permission]);
});

test("a hostPath is read or written as its mounts are", () => {
  expect(volume("{path: /srv/data/}", "{name: v, mountPath: /a, readOnly: true}")).toEqual([
    "host-path=/srv/data:ro spec.volumes[0].hostPath",
  ]);
  expect(
    volume("{path: /srv}", "{name: v, mountPath: /a, readOnly: true}, {name: v, mountPath: /b}"),
  ).toEqual(["host-path=/srv spec.volumes[0].hostPath"]);
  expect(volume("{path: /srv}", "")).toEqual([]);
  expect(volume("{path: /srv, type: DirectoryOrCreate}", "")).toEqual([
    "host-path=/srv spec.volumes[0].hostPath",
  ]);
});

describe("a permission covers", () => {
  test.each([
    ["all", "privileged", true],
    ["privileged", "privileged", true],
    ["cap=ALL", "cap=SYS_TIME", true],
    ["cap=SYS_TIME", "cap=SYS_ADMIN", false],
    ["host-path=/srv", "host-path=/srv/data", true],
    ["host-path=/srv", "host-path=/srv/data:ro", true],
    ["host-path=/srv:ro", "host-path=/srv", false],
    ["host-path=/srv/", "host-path=/srvx", false],
    ["host-path=/", "host-path=/etc", true],
    ["host-path=/srv/data", "host-path=/srv", false],
    ["port=80", "port=443", false],
    ["unconfined=apparmor", "unconfined=seccomp", false],
  ])("%s, %s: %p", (given, needed, expected) => {
    expect(isCovered(needed, [given])).toBe(expected);
  });
});

test("what lies in a tree that is allowed must be found in it; what is named itself is where it leads", () => {
  expect(allowedTree("/srv/data/x", ["host-path=/srv/data:ro"])).toBe("/srv/data");
  expect(allowedTree("/srv/data/", ["host-path=/srv", "host-path=/srv/data"])).toBeUndefined();
  expect(allowedTree("/srv/data", ["all"])).toBeUndefined();
});

test.each([
  [["root"], 'allow[0]: there is no permission "root"'],
  [["all", "cap"], "allow[1]: cap needs a value"],
  [["privileged=yes"], "allow[0]: privileged takes no value"],
  [["host-path=srv"], "allow[0]: the path of host-path=srv must begin at the root"],
  [Array.from({ length: 300 }, () => "all"), "more than 256"],
])("%j is refused", (permissions, message) => {
  expect(() => checkPermissions(permissions, "allow")).toThrow(message);
});

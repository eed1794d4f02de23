// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { ContainerConfigSchema, NamespaceMode, PodSandboxConfigSchema } from "../../gen/runtime/v1/api_pb.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { populate } from "../fake-pods.ts";
import { confinementOf } from "./process-confinement.ts";
import { violations } from "./standards.ts";

const rules = (sandbox: object, securityContext: object, more: object = {}) =>
  violations({
    sandbox: create(PodSandboxConfigSchema, sandbox),
    container: create(ContainerConfigSchema, { linux: { securityContext } }),
    hostPaths: [],
    uid: 1000,
    imageVolumes: [],
    ...more,
  }).map(({ level, rule }) => `${level} ${rule}`);

const strict = {
  noNewPrivs: true,
  capabilities: { dropCapabilities: ["ALL"] },
  seccomp: { profileType: 0 },
  maskedPaths: ["/proc/kcore"],
};

test("a strict container keeps every rule", () => {
  expect(rules({}, strict)).toEqual([]);
  const bind = { dropCapabilities: ["all"], addCapabilities: ["CAP_NET_BIND_SERVICE"] };
  expect(rules({}, { ...strict, capabilities: bind })).toEqual([]);
});

const node = (field: string) => ({
  linux: { securityContext: { namespaceOptions: { [field]: NamespaceMode.NODE } } },
});

test.each<[string, object, object, object]>([
  ["baseline Host Namespaces", node("network"), {}, {}],
  ["baseline Host Namespaces", node("pid"), {}, {}],
  ["baseline Host Namespaces", node("ipc"), {}, {}],
  ["baseline Privileged Containers", {}, { privileged: true }, {}],
  ["baseline HostPath Volumes", {}, {}, { hostPaths: ["/etc"] }],
  ["baseline Host Ports", { portMappings: [{ hostPort: 80, containerPort: 80 }] }, {}, {}],
  ["baseline AppArmor", {}, { apparmor: { profileType: 1 } }, {}],
  ["baseline SELinux", {}, { selinuxOptions: { type: "spc_t" } }, {}],
  ["baseline SELinux", {}, { selinuxOptions: { user: "root" } }, {}],
  ["baseline /proc Mount Type", {}, { maskedPaths: [] }, {}],
  ["baseline Seccomp", {}, { seccomp: { profileType: 1 } }, {}],
  ["baseline Sysctls", { linux: { sysctls: { "kernel.msgmax": "1" } } }, {}, {}],
  ["restricted Volume Types", {}, {}, { imageVolumes: ["/m"] }],
  ["restricted Privilege Escalation", {}, { noNewPrivs: false }, {}],
  ["restricted Running as Non-root", {}, {}, { uid: 0 }],
  ["restricted Capabilities", {}, { capabilities: {} }, {}],
])("%s is named", (rule, sandbox, security, more) => {
  expect(rules(sandbox, { ...strict, ...security }, more)).toEqual([rule]);
});

test("a capability beyond both lists breaks both", () => {
  const capabilities = { dropCapabilities: ["ALL"], addCapabilities: ["NET_RAW"] };
  expect(rules({}, { ...strict, capabilities })).toEqual([
    "baseline Capabilities",
    "restricted Capabilities",
  ]);
});

test("what the kernel does otherwise than asked is shown as a difference", async () => {
  const mine = confinementOf(process.pid)!;
  const runtimeSpec = {
    process: {
      user: { uid: mine.uid + 1, gid: mine.gid, additionalGids: [] },
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
      noNewPrivileges: true,
    },
    linux: {
      namespaces: [{ type: "mount" }],
      devices: [],
      maskedPaths: ["/proc"],
      readonlyPaths: ["/proc/self"],
    },
  };
  const info = JSON.stringify({ pid: process.pid, config: {}, runtimeSpec });
  await using daemon = await startFakeDaemon({
    runtime: {
      containerStatus: () => ({ info: { info } }),
      podSandboxStatus: () => ({ info: { info: "{}" } }),
    },
  });
  populate(daemon);
  const { out } = await runCommand(daemon.socketPath, ["policy", "demo/app1", "-o", "json"]);
  const { rows } = JSON.parse(out).containers[0] as {
    rows: { what: string; got: string; differs: boolean }[];
  };
  const differing = rows.filter(({ differs }) => differs).map(({ what }) => what);
  expect(differing).toContain("user");
  expect(differing).toContain("no_new_privs");
  expect(differing).toContain("read-only paths");
  expect(rows.find(({ what }) => what === "masked paths")).toMatchObject({ differs: false });
  const text = await runCommand(daemon.socketPath, ["policy", "demo/app1"]);
  expect(text.out).toContain(`${mine.uid} (asked: ${mine.uid + 1})`);
});

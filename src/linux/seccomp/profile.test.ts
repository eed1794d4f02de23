// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { parseSeccompProfile, type SeccompSubject } from "./profile.ts";

const PATH = "/profiles/app.json";
const SUBJECT: SeccompSubject = {
  capabilities: new Set(["SYS_ADMIN"]),
  kernelRelease: "6.1.0-56-cloud-amd64",
  architecture: "x86_64",
};

function parse(document: unknown, subject: Partial<SeccompSubject> = {}) {
  return parseSeccompProfile(JSON.stringify(document), PATH, { ...SUBJECT, ...subject });
}

function namesOf(document: unknown, subject?: Partial<SeccompSubject>): string[] {
  return parse(document, subject).syscalls.flatMap((rule) => rule.names);
}

test("an OCI profile is read with its defaults", () => {
  const profile = parse({
    defaultAction: "SCMP_ACT_ERRNO",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [{ names: ["read", "write"], action: "SCMP_ACT_ALLOW" }],
  });
  expect(profile).toEqual({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: undefined,
    architectures: ["SCMP_ARCH_X86_64"],
    flags: [],
    syscalls: [{ names: ["read", "write"], action: "SCMP_ACT_ALLOW", errnoRet: undefined, args: [] }],
  });
});

test("values keep all of their 64 bits", () => {
  const arg =
    '{"index": 5, "value": 18446744073709551615, "valueTwo": 9007199254740993, "op": "SCMP_CMP_MASKED_EQ"}';
  const text = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO",
    "errnoRet": 38, "args": [${arg}]}]}`;
  const [rule] = parseSeccompProfile(text, PATH, SUBJECT).syscalls;
  expect(rule?.errnoRet).toBe(38);
  expect(rule?.args).toEqual([
    { index: 5, value: 18446744073709551615n, valueTwo: 9007199254740993n, op: "SCMP_CMP_MASKED_EQ" },
  ]);
});

test("Go's null for an empty list or number is the same as leaving it out", () => {
  const profile = parse({
    defaultAction: "SCMP_ACT_ALLOW",
    defaultErrnoRet: null,
    architectures: null,
    flags: null,
    syscalls: [
      { names: ["read"], action: "SCMP_ACT_ERRNO", errnoRet: null, args: null, includes: {}, excludes: null },
    ],
  });
  expect(profile.syscalls[0]?.args).toEqual([]);
  expect(parse({ defaultAction: "SCMP_ACT_ALLOW", syscalls: null }).syscalls).toEqual([]);
});

test("Docker's archMap stands for the architectures of this machine", () => {
  const document = {
    defaultAction: "SCMP_ACT_ERRNO",
    archMap: [
      { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
      { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
    ],
  };
  expect(parse(document).architectures).toEqual(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
  expect(parse(document, { architecture: "aarch64" }).architectures).toEqual(["SCMP_ARCH_ARM"]);
  expect(() => parse({ ...document, architectures: ["SCMP_ARCH_X86"] })).toThrow(
    `${PATH}: archMap: cannot be combined with architectures`,
  );
});

test("includes and excludes are settled for capabilities, architecture and kernel", () => {
  const rule = (name: string, filter: object) => ({ names: [name], action: "SCMP_ACT_ALLOW", ...filter });
  const document = {
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [
      rule("mount", { includes: { caps: ["CAP_SYS_ADMIN"] } }),
      rule("reboot", { includes: { caps: ["CAP_SYS_ADMIN", "CAP_SYS_BOOT"] } }),
      rule("clone", { excludes: { caps: ["CAP_SYS_ADMIN"] } }),
      rule("ptrace", { includes: { minKernel: "4.8" } }),
      rule("mseal", { includes: { minKernel: "6.10" } }),
      rule("uselib", { excludes: { minKernel: "6.1" } }),
      rule("arch_prctl", { includes: { arches: ["amd64", "x32"] } }),
      rule("swapcontext", { includes: { arches: ["ppc64le"] } }),
      rule("stime", { excludes: { arches: ["amd64"] } }),
    ],
  };
  expect(namesOf(document)).toEqual(["mount", "ptrace", "arch_prctl"]);
  expect(namesOf(document, { architecture: "aarch64" })).toEqual(["mount", "ptrace", "stime"]);
  const other = { capabilities: new Set<string>(), kernelRelease: "6.12.1" };
  expect(namesOf(document, other)).toEqual(["clone", "ptrace", "mseal", "arch_prctl"]);
  expect(namesOf(document, { kernelRelease: "4.4.0" })).toContain("uselib");
});

test("an old rule with one name is read, and one with both forms refused", () => {
  const rule = { name: "read", action: "SCMP_ACT_ALLOW" };
  expect(namesOf({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [rule] })).toEqual(["read"]);
  const both = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ ...rule, names: ["write"] }] };
  expect(() => parse(both)).toThrow(`${PATH}: syscalls[0].name: cannot be combined with names`);
});

test("a mistake is named by the file and the field's path", () => {
  const rule = (change: object) => ({
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [
      { names: ["a"], action: "SCMP_ACT_ALLOW" },
      { names: ["b"], action: "SCMP_ACT_ALLOW", ...change },
    ],
  });
  const arg = { index: 0, value: 0, op: "SCMP_CMP_EQ" };
  const mistakes = [
    [{}, "defaultAction: is missing"],
    [
      { defaultAction: "ALLOW" },
      'defaultAction: must be an SCMP_ACT_ action that podrt knows (it is "ALLOW")',
    ],
    [
      { defaultAction: "SCMP_ACT_LOG", architectures: ["amd64"] },
      "architectures[0]: must be an SCMP_ARCH_ name",
    ],
    [rule({ action: "SCMP_ACT_NONE" }), "syscalls[1].action: must be an SCMP_ACT_ action"],
    [rule({ errnoRet: 5000 }), "syscalls[1].errnoRet: must be <=4095 (it is 5000)"],
    [rule({ args: [arg, { ...arg, op: "EQ" }] }), "syscalls[1].args[1].op: must be an SCMP_CMP_ operator"],
    [rule({ args: [{ ...arg, index: 6 }] }), "syscalls[1].args[0].index"],
    [rule({ args: [{ ...arg, value: -1 }] }), "syscalls[1].args[0].value: must be an integer of 0 or more"],
    [rule({ args: [{ ...arg, value: 1.5 }] }), "syscalls[1].args[0].value: must be an integer of 0 or more"],
    [rule({ includes: { minKernel: "six" } }), "syscalls[1].includes.minKernel: must be VERSION.PATCHLEVEL"],
    [{ defaultAction: "SCMP_ACT_ALLOW", flags: ["NEW_FLAG"] }, "flags[0]: must be a flag of seccomp(2)"],
    ["text", 'must be Object (it is "text")'],
  ] as const;
  for (const [document, message] of mistakes) expect(() => parse(document)).toThrow(`${PATH}: ${message}`);
});

test("a value beyond 64 bits is refused", () => {
  const text = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO",
    "args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]}]}`;
  expect(() => parseSeccompProfile(text, PATH, SUBJECT)).toThrow(`${PATH}: syscalls[0].args[0].value`);
});

test("what needs an agent is refused by name", () => {
  const notify = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mount"], action: "SCMP_ACT_NOTIFY" }],
  };
  expect(() => parse(notify)).toThrow(`${PATH}: syscalls[0].action: SCMP_ACT_NOTIFY needs a seccomp agent`);
  expect(() => parse({ defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/run/agent.sock" })).toThrow(
    `${PATH}: listenerPath: podrt has no seccomp agent`,
  );
});

test("what is no JSON, or too much of it, is refused", () => {
  expect(() => parseSeccompProfile("{", PATH, SUBJECT)).toThrow(`${PATH}: is not JSON`);
  expect(() => parseSeccompProfile(" ".repeat(1024 * 1024 + 1), PATH, SUBJECT)).toThrow(
    "a seccomp profile may have at most 1048576 characters",
  );
});

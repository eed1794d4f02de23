// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import { runFilter, type SeccompCall } from "../../../test/support/classic-bpf.ts";
import { ABIS, AUDIT, listedName, MACHINE } from "../../../test/support/seccomp-abis.ts";
import { compileSeccomp, seccompFlags } from "./compile.ts";
import { defaultSeccompProfile } from "./default-profile.ts";
import type { SeccompCondition, SeccompOperator, SeccompProfile, SeccompRule } from "./profile.ts";
import { defaultAnswer, highestNamed, outcomesByNumber } from "./rules.ts";
import { type SyscallAbi, syscallTable } from "./syscall-table.ts";

const ALLOW = 0x7fff0000;
const ERRNO_EPERM = 0x00050001;
const ERRNO_ENOSYS = 0x00050026;
const KILL_PROCESS = 0x80000000;
const NO_ARGS = [0n, 0n, 0n, 0n, 0n, 0n];

const ALLOWING = { action: "SCMP_ACT_ALLOW", args: [] } as const;

function profileOf(syscalls: SeccompRule[], rest: Partial<SeccompProfile> = {}): SeccompProfile {
  return { defaultAction: "SCMP_ACT_ERRNO", architectures: [], flags: [], ...rest, syscalls };
}

function condition(index: number, op: SeccompOperator, value: bigint, valueTwo = 0n): SeccompCondition {
  return { index, op, value, valueTwo };
}

function answerTo(profile: SeccompProfile, abi: SyscallAbi, name: string, args: bigint[] = []): number {
  const nr = syscallTable(abi).get(name);
  if (nr === undefined) throw new Error(`${abi} has no ${name}`);
  const call = { arch: AUDIT[abi], nr, args: [...args, ...NO_ARGS].slice(0, 6) };
  return runFilter(compileSeccomp(profile, MACHINE[abi]), call).answer;
}

test("a named call gets its rule's action and another the default", () => {
  const profile = profileOf([
    { names: ["read", "no_such_call"], ...ALLOWING },
    { names: ["seccomp"], ...ALLOWING },
  ]);
  expect(answerTo(profile, "x86_64", "read")).toBe(ALLOW);
  expect(answerTo(profile, "x86_64", "write")).toBe(ERRNO_EPERM);
});

test("every action becomes the kernel's value, with its errno where it carries one", () => {
  const answers = {
    SCMP_ACT_KILL: 0x00000000,
    SCMP_ACT_KILL_THREAD: 0x00000000,
    SCMP_ACT_KILL_PROCESS: 0x80000000,
    SCMP_ACT_TRAP: 0x00030000,
    SCMP_ACT_ERRNO: 0x0005000d,
    SCMP_ACT_TRACE: 0x7ff0000d,
    SCMP_ACT_LOG: 0x7ffc0000,
  } as const;
  for (const [action, expected] of Object.entries(answers)) {
    const rule = { names: ["read"], action: action as keyof typeof answers, errnoRet: 13, args: [] };
    expect(answerTo(profileOf([rule], { defaultAction: "SCMP_ACT_ALLOW" }), "x86_64", "read")).toBe(expected);
    const byDefault = profileOf([], { defaultAction: rule.action, defaultErrnoRet: 13 });
    expect(answerTo(byDefault, "x86_64", "read")).toBe(expected);
  }
});

test("a call newer than the newest one named answers ENOSYS where the default refuses", () => {
  const rules = [{ names: ["openat2", "read"], ...ALLOWING }];
  expect(answerTo(profileOf(rules), "x86_64", "faccessat2")).toBe(ERRNO_ENOSYS);
  expect(answerTo(profileOf(rules), "x86_64", "close_range")).toBe(ERRNO_EPERM);
  expect(answerTo(profileOf(rules, { architectures: ["SCMP_ARCH_X86"] }), "x86", "mseal")).toBe(ERRNO_ENOSYS);
  const permissive = profileOf([{ names: ["read"], action: "SCMP_ACT_ERRNO", args: [] }], {
    defaultAction: "SCMP_ACT_ALLOW",
  });
  expect(answerTo(permissive, "x86_64", "mseal")).toBe(ALLOW);
});

test("an ABI that is not listed kills the process", () => {
  const profile = profileOf([{ names: ["read"], ...ALLOWING }]);
  expect(answerTo(profile, "x86", "read")).toBe(KILL_PROCESS);
  expect(answerTo(profile, "x32", "read")).toBe(KILL_PROCESS);
  expect(answerTo(profile, "arm", "read")).toBe(KILL_PROCESS);
  expect(answerTo(profile, "aarch64", "read")).toBe(ALLOW);
  for (const abi of ABIS) {
    const other = MACHINE[abi] === "x86_64" ? "aarch64" : "x86_64";
    const call = { arch: AUDIT[abi], nr: 3, args: NO_ARGS };
    expect(runFilter(compileSeccomp(profile, other), call).answer).toBe(KILL_PROCESS);
  }
});

test("a listed ABI is filtered by its own numbers", () => {
  const architectures = ABIS.map(listedName);
  const profile = profileOf([{ names: ["read", "ioctl", "statx"], ...ALLOWING }], { architectures });
  for (const abi of ABIS) {
    expect(answerTo(profile, abi, "read")).toBe(ALLOW);
    expect(answerTo(profile, abi, "ioctl")).toBe(ALLOW);
    expect(answerTo(profile, abi, "fsync")).toBe(ERRNO_EPERM);
  }
  expect(syscallTable("x32").get("ioctl")).toBe(0x40000000 + 514);
  expect(syscallTable("x86").get("ioctl")).toBe(54);
  expect(syscallTable("aarch64").get("ioctl")).toBe(29);
  expect(syscallTable("arm").get("ioctl")).toBe(54);
});

test("the private calls of 32-bit ARM do not make a profile newer", () => {
  const rules = [{ names: ["openat2", "cacheflush"], ...ALLOWING }];
  const profile = profileOf(rules, { architectures: ["SCMP_ARCH_ARM"] });
  expect(syscallTable("arm").get("cacheflush")).toBe(0xf0002);
  expect(answerTo(profile, "arm", "cacheflush")).toBe(ALLOW);
  expect(answerTo(profile, "arm", "faccessat2")).toBe(ERRNO_ENOSYS);
  expect(answerTo(profile, "arm", "set_tls")).toBe(ERRNO_ENOSYS);
  expect(answerTo(profile, "arm", "write")).toBe(ERRNO_EPERM);
});

test("a number of -1, with which a tracer skips a call, passes", () => {
  for (const abi of ["x86_64", "aarch64"] as const) {
    for (const architectures of [[], ["SCMP_ARCH_X32", "SCMP_ARCH_ARM"]]) {
      const profile = profileOf([{ names: ["read"], ...ALLOWING }], { architectures });
      const filter = compileSeccomp(profile, abi);
      expect(runFilter(filter, { arch: AUDIT[abi], nr: 0xffffffff, args: NO_ARGS }).answer).toBe(ALLOW);
    }
  }
});

test("a rule without conditions wins over those with, wherever it stands", () => {
  const conditional = {
    names: ["read"],
    action: "SCMP_ACT_LOG",
    args: [condition(0, "SCMP_CMP_EQ", 3n)],
  } as const;
  const plain = { names: ["read"], ...ALLOWING };
  for (const rules of [
    [conditional, plain],
    [plain, conditional],
  ]) {
    expect(answerTo(profileOf(rules), "x86_64", "read", [3n])).toBe(ALLOW);
  }
});

test("several conditions on one argument are alternatives, on several arguments they must all hold", () => {
  const either = [condition(0, "SCMP_CMP_EQ", 1n), condition(0, "SCMP_CMP_EQ", 2n)];
  const both = [condition(0, "SCMP_CMP_EQ", 1n), condition(1, "SCMP_CMP_EQ", 2n)];
  const alternatives = profileOf([{ names: ["read"], action: "SCMP_ACT_ALLOW", args: either }]);
  const together = profileOf([{ names: ["read"], action: "SCMP_ACT_ALLOW", args: both }]);
  expect(answerTo(alternatives, "x86_64", "read", [2n])).toBe(ALLOW);
  expect(answerTo(together, "x86_64", "read", [1n])).toBe(ERRNO_EPERM);
  expect(answerTo(together, "x86_64", "read", [1n, 2n])).toBe(ALLOW);
});

test("a call made through i386's socketcall and ipc is filtered like the direct one", () => {
  const rules = ["socket", "semget"].map((name) => ({
    names: [name],
    action: "SCMP_ACT_ERRNO" as const,
    args: [],
  }));
  const profile = profileOf(rules, { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86"] });
  expect(answerTo(profile, "x86", "socket")).toBe(ERRNO_EPERM);
  expect(answerTo(profile, "x86", "socketcall", [1n])).toBe(ERRNO_EPERM);
  expect(answerTo(profile, "x86", "socketcall", [2n])).toBe(ALLOW);
  expect(answerTo(profile, "x86", "ipc", [2n])).toBe(ERRNO_EPERM);
  expect(answerTo(profile, "x86", "ipc", [3n])).toBe(ALLOW);
});

test("a filter beyond the kernel's size is refused before the kernel sees it", () => {
  const args = Array.from({ length: 60 }, (_, value) => condition(0, "SCMP_CMP_EQ", BigInt(value) << 33n));
  const names = [...syscallTable("x86_64").keys()];
  const rules = names.map((name, index) => ({
    names: [name],
    action: "SCMP_ACT_ERRNO" as const,
    errnoRet: index % 4000,
    args,
  }));
  expect(() => compileSeccomp(profileOf(rules, { defaultAction: "SCMP_ACT_ALLOW" }), "x86_64")).toThrow(
    /needs [0-9]+ BPF instructions, but the kernel takes 4096/,
  );
});

test("flags become the bits of seccomp(2)", () => {
  const flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"] as const;
  expect(seccompFlags(profileOf([], { flags }))).toBe(6);
});

// The profile's meaning once more, straight from its rules: what the compiled filter is held against.

const MATCHES: Record<SeccompOperator, (value: bigint, a: bigint, b: bigint) => boolean> = {
  SCMP_CMP_NE: (value, a) => value !== a,
  SCMP_CMP_LT: (value, a) => value < a,
  SCMP_CMP_LE: (value, a) => value <= a,
  SCMP_CMP_EQ: (value, a) => value === a,
  SCMP_CMP_GE: (value, a) => value >= a,
  SCMP_CMP_GT: (value, a) => value > a,
  SCMP_CMP_MASKED_EQ: (value, mask, rest) => (value & mask) === (rest & mask),
};

const DATUM = {
  SCMP_ACT_ALLOW: 0x7fff0000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_KILL: 0,
} as const;

function holds(
  { index, op, value, valueTwo }: SeccompCondition,
  abi: SyscallAbi,
  args: readonly bigint[],
): boolean {
  const width = abi === MACHINE[abi] ? 64 : 32;
  const [argument, a, b] = [args[index] ?? 0n, value, valueTwo].map((word) => BigInt.asUintN(width, word));
  return MATCHES[op](argument as bigint, a as bigint, b as bigint);
}

function meaning(profile: SeccompProfile, abi: SyscallAbi, name: string, args: readonly bigint[]): number {
  const answer = (action: string, errno: number | undefined) =>
    DATUM[action as keyof typeof DATUM] + (action === "SCMP_ACT_ERRNO" ? (errno ?? 1) : 0);
  const byDefault = answer(profile.defaultAction, profile.defaultErrnoRet);
  const isMet = (condition: SeccompCondition) => holds(condition, abi, args);
  const named = profile.syscalls.filter(
    (rule) => rule.names.includes(name) && answer(rule.action, rule.errnoRet) !== byDefault,
  );
  const plain = named.find((rule) => rule.args.length === 0);
  if (plain) return answer(plain.action, plain.errnoRet);
  for (const rule of named) {
    const repeats = new Set(rule.args.map((arg) => arg.index)).size < rule.args.length;
    if (repeats ? rule.args.some(isMet) : rule.args.every(isMet)) return answer(rule.action, rule.errnoRet);
  }
  return byDefault;
}

const NAMES = [
  "read",
  "write",
  "open",
  "ioctl",
  "mmap",
  "clone",
  "socket",
  "statx",
  "openat2",
  "futex",
  "kill",
];
const anyWord = fc.oneof(
  fc.bigInt({ min: 0n, max: 3n }),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.constantFrom(0xffffffffn, 0x1_0000_0000n, 0x1_0000_0001n, (1n << 64n) - 1n),
);
const anyCondition = fc.record({
  index: fc.integer({ min: 0, max: 5 }),
  op: fc.constantFrom(...(Object.keys(MATCHES) as SeccompOperator[])),
  value: anyWord,
  valueTwo: anyWord,
});
const anyAction = fc.constantFrom(
  "SCMP_ACT_ALLOW" as const,
  "SCMP_ACT_ERRNO" as const,
  "SCMP_ACT_LOG" as const,
);
const anyProfile = fc.record({
  defaultAction: anyAction,
  defaultErrnoRet: fc.constantFrom(undefined, 7),
  architectures: fc.constant(["SCMP_ARCH_X32", "SCMP_ARCH_ARM"]),
  flags: fc.constant([]),
  syscalls: fc.array(
    fc.record({
      names: fc.subarray(NAMES, { minLength: 1 }),
      action: anyAction,
      errnoRet: fc.constantFrom(undefined, 7, 9),
      args: fc.array(anyCondition, { maxLength: 4 }),
    }),
    { maxLength: 12 },
  ),
});

test("the compiled filter answers what the profile means, for any profile and call", () => {
  // The highest numbers of each ABI are named, so that no call here is newer than the profile.
  const rest: SeccompRule = {
    names: ["openat2", "pwritev2"],
    action: "SCMP_ACT_KILL",
    args: [condition(0, "SCMP_CMP_EQ", 99n)],
  };
  const property = fc.property(
    anyProfile,
    fc.constantFrom("x86_64" as const, "x32" as const, "aarch64" as const, "arm" as const),
    fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.array(anyWord, { minLength: 6, maxLength: 6 })), {
      minLength: 20,
      maxLength: 20,
    }),
    (profile, abi, calls) => {
      const complete = { ...profile, syscalls: [...profile.syscalls, rest] };
      const filter = compileSeccomp(complete, MACHINE[abi]);
      const literals = complete.syscalls.flatMap((rule) => rule.args.map((arg) => arg.value));
      calls.forEach(([name, args], index) => {
        const literal = literals[index % Math.max(literals.length, 1)];
        const aimed = index % 2 === 0 || literal === undefined ? args : args.map(() => literal);
        const nr = syscallTable(abi).get(name);
        if (nr === undefined) return;
        const call: SeccompCall = { arch: AUDIT[abi], nr, args: aimed };
        expect(runFilter(filter, call).answer).toBe(meaning(complete, abi, name, aimed));
      });
    },
  );
  fc.assert(property, { numRuns: 300 });
});

/** First arguments around all that the default profile compares them with, and with something in the upper half. */
const FIRST_ARGUMENTS = [
  ...Array.from({ length: 48 }, (_, value) => BigInt(value)),
  ...[
    0x1ffffn,
    0x20000n,
    0x20001n,
    0x20008n,
    0x20009n,
    0x2_0000_0000n,
    0x7e02_0000n,
    0x2000_0000n,
    0x7ffff_ffffn,
  ],
  ...[0xffff_fffen, 0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0001n, 0x1_0000_0028n, (1n << 64n) - 1n],
];

test("each number of each ABI has in the default filter what the rules say, for whatever arguments", () => {
  for (const machine of ["x86_64", "aarch64"] as const) {
    for (const capabilities of [[], ["SYS_ADMIN"], ["SYS_CHROOT", "SYSLOG", "SYS_NICE"]]) {
      const profile = defaultSeccompProfile(new Set(capabilities), machine);
      const filter = compileSeccomp(profile, machine);
      for (const abi of ABIS.filter((other) => MACHINE[other] === machine)) {
        const outcomes = outcomesByNumber(profile, abi);
        const newest = highestNamed(profile, abi)!;
        const lowest = abi === "x32" ? 0x4000_0000 : 0;
        const beyond = [0x1000, 0xf_0001, 0xf_0002, 0xf_0005, 0xf_0006, 0x3fff_ffff];
        for (const offset of [...Array(600).keys(), ...beyond]) {
          const nr = lowest + offset;
          const unnamed = nr > newest ? ERRNO_ENOSYS : defaultAnswer(profile);
          const { alternatives, otherwise } = outcomes.get(nr) ?? { alternatives: [], otherwise: unnamed };
          for (const first of alternatives.length === 0 ? [0n, 40n] : FIRST_ARGUMENTS) {
            const met = alternatives.find(({ conditions }) =>
              conditions.every((one) => holds(one, abi, [first])),
            );
            const call = { arch: AUDIT[abi], nr, args: [first, ...NO_ARGS.slice(1)] };
            if (runFilter(filter, call).answer !== (met?.answer ?? otherwise))
              throw new Error(`${abi} ${nr} with ${first}: ${runFilter(filter, call).answer.toString(16)}`);
          }
        }
      }
    }
  }
});

// The kernel makes machine code of it in every launch and every exec, in time that grows with its length.
test("the default filter is short", () => {
  for (const [machine, limit] of [
    ["x86_64", 240],
    ["aarch64", 210],
  ] as const) {
    const filter = compileSeccomp(defaultSeccompProfile(new Set(["SYS_CHROOT"]), machine), machine);
    expect(filter.length / 8).toBeLessThanOrEqual(limit);
  }
});

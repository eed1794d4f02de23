// SPDX-License-Identifier: Apache-2.0
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import type { Architecture } from "../../src/linux/architecture.ts";
import { compileSeccomp } from "../../src/linux/seccomp/compile.ts";
import { defaultSeccompProfile } from "../../src/linux/seccomp/default-profile.ts";
import type {
  SeccompAction,
  SeccompCondition,
  SeccompOperator,
  SeccompProfile,
  SeccompRule,
} from "../../src/linux/seccomp/profile.ts";
import { defaultAnswer, highestNamed } from "../../src/linux/seccomp/rules.ts";
import { type SyscallAbi, syscallTable } from "../../src/linux/seccomp/syscall-table.ts";
import { FIRST_PRIVATE } from "../../src/linux/seccomp/syscalls-arm.ts";
import { runFilter } from "../support/classic-bpf.ts";
import { fuzz, fuzzTimeoutMs } from "../support/fuzz.ts";
import { loadLibseccomp } from "../support/libseccomp.ts";
import { ABIS, AUDIT, listedName, MACHINE } from "../support/seccomp-abis.ts";

setDefaultTimeout(fuzzTimeoutMs);

const libseccomp = loadLibseccomp();
const ENOSYS = 0x00050026;
const PERMISSIVE: readonly string[] = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];

/** What podrt adds to libseccomp's meaning, as runc does: calls newer than the profile do not exist. */
function expectedOf(profile: SeccompProfile, abi: SyscallAbi, nr: number, byLibseccomp: number): number {
  const isListed = abi === MACHINE[abi] || profile.architectures.includes(listedName(abi));
  if (!isListed || PERMISSIVE.includes(profile.defaultAction)) return byLibseccomp;
  const newest = highestNamed(profile, abi);
  // What only 32-bit ARM has stands above all others and says nothing of the profile's age.
  const isUnnamed = byLibseccomp === defaultAnswer(profile);
  return newest !== undefined && nr > newest && (nr < FIRST_PRIVATE || isUnnamed) ? ENOSYS : byLibseccomp;
}

interface Filters {
  readonly ours: Uint8Array;
  readonly theirs: Uint8Array;
}

/** Undefined where libseccomp refuses one of the rules. */
function filtersOf(profile: SeccompProfile, machine: Architecture): Filters | undefined {
  const theirs = libseccomp!.compile(profile, machine);
  return theirs === undefined ? undefined : { ours: compileSeccomp(profile, machine), theirs };
}

function compare(
  profile: SeccompProfile,
  filters: Filters,
  abi: SyscallAbi,
  nr: number,
  args: readonly bigint[],
): void {
  const call = { arch: AUDIT[abi], nr, args };
  const ours = runFilter(filters.ours, call).answer;
  const theirs = expectedOf(profile, abi, nr, runFilter(filters.theirs, call).answer);
  if (ours === theirs) return;
  const shown = JSON.stringify({ abi, nr, args, profile }, (_, value) =>
    typeof value === "bigint" ? `0x${value.toString(16)}` : value,
  );
  throw new Error(`podrt ${ours.toString(16)}, libseccomp ${theirs.toString(16)}: ${shown}`);
}

const NAMES = (
  "read write open close ioctl mmap clone socket bind semget statx openat2 futex kill personality time sendmsg " +
  "pwritev2 stat64 _llseek arch_prctl getrandom clock_gettime64"
).split(" ");
// i386 has one number for all of these, with the choice in the first argument: no place for conditions of a rule's own.
const MULTIPLEXED = ["socket", "bind", "semget", "sendmsg"];
const OPERATORS: readonly SeccompOperator[] = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
];
const ACTIONS: readonly SeccompAction[] = [
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_LOG",
];

const anyWord = fc.oneof(
  fc.bigInt({ min: 0n, max: 3n }),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.constantFrom(0x7fffffffn, 0xffffffffn, 0x1_0000_0000n, 0x1_0000_0001n, 1n << 63n, (1n << 64n) - 1n),
);
const anyCondition: fc.Arbitrary<SeccompCondition> = fc.record({
  index: fc.integer({ min: 0, max: 5 }),
  op: fc.constantFrom(...OPERATORS),
  value: anyWord,
  valueTwo: anyWord,
});
const anyErrno = fc.constantFrom(undefined, 0, 7, 38, 4094);

/**
 * What rules of one call may ask of its arguments together: any conditions on different arguments in one rule; any
 * condition of its own argument in each of several rules; or one argument compared with several words, in one rule or
 * in several. Other combinations are left out because libseccomp 2.5 gets them wrong: where two rules order one
 * argument differently, it compares a lower half that it has loaded with what is meant for the upper.
 */
const anyAlternatives: fc.Arbitrary<SeccompCondition[][]> = fc.oneof(
  fc.uniqueArray(anyCondition, { maxLength: 6, selector: ({ index }) => index }).map((args) => [args]),
  fc
    .uniqueArray(anyCondition, { minLength: 2, maxLength: 4, selector: ({ index }) => index })
    .map((conditions) => conditions.map((condition) => [condition])),
  fc
    .record({
      index: fc.integer({ min: 0, max: 5 }),
      words: fc.uniqueArray(anyWord, { minLength: 2, maxLength: 5 }),
      areTogether: fc.boolean(),
    })
    .map(({ index, words, areTogether }) => {
      const conditions = words.map((value) => ({ index, op: "SCMP_CMP_EQ" as const, value, valueTwo: 0n }));
      return areTogether ? [conditions] : conditions.map((condition) => [condition]);
    }),
);

/**
 * The rules of one call. They have one action: where rules of different actions overlap, libseccomp decides by
 * the layout of its tree, not by the rules' order, and profiles that count on it mean different things to different runtimes.
 */
const anyRules: fc.Arbitrary<SeccompRule[]> = fc
  .record({
    names: fc.constantFrom(...NAMES).map((name) => [name]),
    action: fc.constantFrom(...ACTIONS),
    errnoRet: anyErrno,
    alternatives: anyAlternatives,
  })
  .map(({ alternatives, names, ...rule }) =>
    alternatives.map((args) => ({ ...rule, names, args: MULTIPLEXED.includes(names[0]!) ? [] : args })),
  );

const anyProfile: fc.Arbitrary<SeccompProfile> = fc
  .record({
    defaultAction: fc.constantFrom(...ACTIONS),
    defaultErrnoRet: anyErrno,
    architectures: fc.subarray(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]),
    rules: fc.uniqueArray(anyRules, { maxLength: 8, selector: (rules) => rules[0]!.names[0] }),
  })
  .map(({ rules, ...profile }) => ({ ...profile, flags: [], syscalls: rules.flat() }));

/** What libseccomp 2.5 gets right: for a rule of a call that only a listed 32-bit ABI has, it forgets others. */
function asFarAsRight(profile: SeccompProfile, machine: Architecture): SeccompProfile {
  if (machine === "x86_64" && !profile.architectures.includes("SCMP_ARCH_X32")) return profile;
  const isNative = ({ names }: SeccompRule) => syscallTable(machine).has(names[0]!);
  return { ...profile, syscalls: profile.syscalls.filter(isNative) };
}

const anyArgs = fc.array(anyWord, { minLength: 6, maxLength: 6 });

/** Words on both sides of a literal of the rule, so that comparisons meet their edges. */
function aimed(rule: SeccompRule | undefined, args: readonly bigint[], turn: number): bigint[] {
  const hits = args.map((word) => word);
  for (const { index, op, value, valueTwo } of rule?.args ?? []) {
    const literal = op === "SCMP_CMP_MASKED_EQ" ? (value & valueTwo) | (hits[index]! & ~value) : value;
    hits[index] = BigInt.asUintN(64, literal + BigInt((turn % 3) - 1));
  }
  return hits;
}

// libseccomp comes from the distribution; where it is not, there is nothing to compare with.
describe.skipIf(libseccomp === undefined)(
  "a filter of podrt's answers as libseccomp's (skipped without it)",
  () => {
    test("for any profile and call", () => {
      let compared = 0;
      const property = fc.property(
        anyProfile,
        fc.array(fc.tuple(fc.constantFrom(...NAMES), anyArgs), { minLength: 12, maxLength: 12 }),
        fc.constantFrom("x86_64" as const, "aarch64" as const),
        (anything, calls, machine) => {
          const profile = asFarAsRight(anything, machine);
          const filters = filtersOf(profile, machine);
          fc.pre(filters !== undefined);
          for (const abi of ABIS.filter((abi) => MACHINE[abi] === machine)) {
            calls.forEach(([name, args], turn) => {
              const rule = profile.syscalls[turn % Math.max(profile.syscalls.length, 1)];
              for (const called of [name, rule?.names[0] ?? name]) {
                const nr = syscallTable(abi).get(called);
                if (nr === undefined) continue;
                compare(profile, filters!, abi, nr, args);
                compare(profile, filters!, abi, nr, aimed(rule, args, turn));
                compared += 2;
              }
            });
          }
        },
      );
      fc.assert(property, fuzz(400));
      expect(compared).toBeGreaterThan(10_000);
    });

    test("for the default profile, every call that libseccomp knows, and every capability alone", () => {
      const edges = [0n, 1n, 8n, 17n, 38n, 40n, 45n, 46n, 0x20000n, 0x10000000n, 0xffffffffn, 0x1_0000_0028n];
      for (const capability of [undefined, "SYS_ADMIN", "BPF", "SYS_CHROOT", "SYS_TIME", "SYS_PTRACE"]) {
        const capabilities = new Set(capability === undefined ? [] : [capability]);
        for (const abi of ABIS) {
          const profile = defaultSeccompProfile(capabilities, MACHINE[abi]);
          const filters = filtersOf(profile, MACHINE[abi])!;
          for (const [name, nr] of syscallTable(abi)) {
            if (!libseccomp!.knows(name)) continue;
            for (const first of edges) compare(profile, filters, abi, nr, [first, 0n, 0n, 0n, 0n, 0n]);
          }
        }
      }
    });
  },
);

// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ARCHITECTURE } from "../../src/linux/architecture.ts";
import { DEFAULT_CAPABILITIES } from "../../src/linux/capability.ts";
import { compileSeccomp, seccompFlags } from "../../src/linux/seccomp/compile.ts";
import { defaultSeccompFilter } from "../../src/linux/seccomp/filters.ts";
import { parseSeccompProfile } from "../../src/linux/seccomp/profile.ts";
import { type SyscallAbi, syscallTable } from "../../src/linux/seccomp/syscall-table.ts";
import { buildSyscallProbe, type ProbeCall, probe } from "../fixtures/syscall-probe.ts";

// A small program puts itself under a filter that podrt compiled and makes the system calls it is told to, so that
// the kernel itself says what the filter does.

const [EPERM, EBADF, EFAULT, EINVAL, ENOSYS] = [1, 9, 14, 22, 38] as const;
const X32 = 0x40000000;
let directory = "";
let program = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-seccomp-"));
  program = buildSyscallProbe(directory);
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Calls of a 32-bit program, and those with a bit of their own, can be made by one of x86-64 alone. */
const hasOthers = ARCHITECTURE === "x86_64";

function nr(name: string, abi: SyscallAbi = ARCHITECTURE): number {
  const number = syscallTable(abi).get(name);
  if (number === undefined) throw new Error(`${abi} has no ${name}`);
  return number;
}

const call = (name: string, ...args: (number | bigint)[]): ProbeCall => ({ nr: nr(name), args });
/** The same call as a 32-bit program makes it. */
const compat = (name: string, ...args: (number | bigint)[]): ProbeCall => ({
  abi: "compat",
  nr: nr(name, "x86"),
  args,
});

interface Arg {
  readonly index: number;
  readonly value: bigint;
  readonly valueTwo?: bigint;
  readonly op: string;
}
interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly Arg[];
}

/** The filter of a profile, as it is written in a file. */
function filterOf(profile: Record<string, unknown> & { readonly syscalls?: readonly Rule[] }) {
  // Integers beyond 2^53 are written out in full.
  const text = JSON.stringify(profile, (_, value) =>
    typeof value === "bigint" ? `integer ${value}` : value,
  ).replace(/"integer (\d+)"/g, "$1");
  const subject = { capabilities: new Set<string>(), kernelRelease: "6.5", architecture: ARCHITECTURE };
  const parsed = parseSeccompProfile(text, "/profile.json", subject);
  return { instructions: compileSeccomp(parsed), flags: seccompFlags(parsed) };
}

/** What the calls answer, all of which must come to an end. */
function answers(filter: ReturnType<typeof filterOf> | undefined, calls: readonly ProbeCall[]): number[] {
  const result = probe(program, filter, calls);
  expect([result.exitCode, result.signal]).toEqual([0, null]);
  expect(result.answers).toHaveLength(calls.length);
  return [...result.answers];
}

test("the default filter is accepted and does what it should", () => {
  const expected: [ProbeCall, number][] = [
    [call("mount"), -EPERM],
    [call("unshare", 0x10000000), -EPERM],
    [call("clone", 0x10000000), -EPERM],
    [call("clone3", 0, 0), -ENOSYS],
    [call("bpf", 0, 0, 0), -EPERM],
    [call("add_key"), -EPERM],
    [call("io_uring_setup"), -EPERM],
    [call("socket", 40, 1, 0), -EPERM],
    [call("socket", 0x1_0000_0028n, 1, 0), -EPERM],
    [call("dup3", 1000, 5, 0), -EBADF],
    [call("personality", 0xffffffff), 0],
    [call("personality", 0x0040000), -EPERM],
    [{ nr: 1000 }, -ENOSYS],
  ];
  const others: [ProbeCall, number][] = [
    // A refused call of the x32 ABI, which most kernels do not have, is refused all the same.
    [{ nr: X32 + nr("mount") }, -EPERM],
    [{ nr: X32 + nr("unshare"), args: [0x10000000] }, -EPERM],
    // What 32-bit programs call is filtered by numbers of its own, with 32 bits of each argument.
    [compat("mount"), -EPERM],
    [compat("unshare", 0x10000000), -EPERM],
    [compat("clone", 0x10000000), -EPERM],
    [compat("add_key"), -EPERM],
    [compat("personality", 0xffffffff), 0],
    [compat("dup3", 1000, 5, 0), -EBADF],
    [compat("socket", 40, 1, 0), -EPERM],
  ];
  if (hasOthers) expected.push(...others);
  const filter = defaultSeccompFilter(new Set(DEFAULT_CAPABILITIES));
  expect(
    answers(
      filter,
      expected.map(([made]) => made),
    ),
  ).toEqual(expected.map(([, answer]) => answer));
  const looking = hasOthers ? [call("getpid"), compat("getpid")] : [call("getpid")];
  expect(answers(filter, looking).every((pid) => pid > 1)).toBe(true);
});

test("the default filter lets a container with SYS_ADMIN mount", () => {
  const filter = defaultSeccompFilter(new Set([...DEFAULT_CAPABILITIES, "SYS_ADMIN"]));
  const made = [call("mount", 1, 1, 1), call("clone3", 0, 0), call("add_key")];
  expect(answers(filter, made)).toEqual([-EFAULT, -EINVAL, -EPERM]);
});

// Of an argument of dup3 the kernel takes 32 bits, so whatever passes finds descriptor 1000 not open.
const NEIGHBOURS = [5n, 0x2_0000_0005n, 0x1_0000_0004n, 0x1_0000_0005n, 0x1_0000_0006n];
const MATCHING = {
  SCMP_CMP_EQ: [0x1_0000_0005n],
  SCMP_CMP_NE: [5n, 0x2_0000_0005n, 0x1_0000_0004n, 0x1_0000_0006n],
  SCMP_CMP_LT: [5n, 0x1_0000_0004n],
  SCMP_CMP_LE: [5n, 0x1_0000_0004n, 0x1_0000_0005n],
  SCMP_CMP_GT: [0x2_0000_0005n, 0x1_0000_0006n],
  SCMP_CMP_GE: [0x2_0000_0005n, 0x1_0000_0005n, 0x1_0000_0006n],
  SCMP_CMP_MASKED_EQ: [0x1_0000_0004n, 0x1_0000_0006n],
} as const;

/** `dup3` with an answer of its own where the condition on its second argument holds. */
function dup3Where(op: string): ReturnType<typeof filterOf> {
  const arg =
    op === "SCMP_CMP_MASKED_EQ"
      ? { index: 1, op, value: 0x1_0000_0005n, valueTwo: 0x1_0000_0004n }
      : { index: 1, op, value: 0x1_0000_0005n };
  return filterOf({
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86"],
    syscalls: [{ names: ["dup3"], action: "SCMP_ACT_ERRNO", errnoRet: 77, args: [arg] }],
  });
}

test.each(Object.entries(MATCHING))("%p compares all 64 bits of an argument", (op, matching) => {
  const found = answers(
    dup3Where(op),
    NEIGHBOURS.map((word) => call("dup3", 1000, word, 0)),
  );
  expect(found).toEqual(
    NEIGHBOURS.map((word) => ((matching as readonly bigint[]).includes(word) ? -77 : -EBADF)),
  );
});

// See hasOthers.
test.skipIf(!hasOthers).each(Object.entries(MATCHING))(
  "%p compares the lower 32 bits of a 32-bit program's",
  (op, matching) => {
    const found = answers(
      dup3Where(op),
      [4, 5, 6].map((word) => compat("dup3", 1000, word, 0)),
    );
    const upper = 0x1_0000_0000n;
    expect(found).toEqual(
      [4n, 5n, 6n].map((word) => ((matching as readonly bigint[]).includes(upper | word) ? -77 : -EBADF)),
    );
  },
);

test("conditions on several arguments must all hold, and one of several rules is enough", () => {
  const equals = (index: number, value: bigint) => ({ index, value, op: "SCMP_CMP_EQ" });
  const filter = filterOf({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [
      {
        names: ["dup3"],
        action: "SCMP_ACT_ERRNO",
        errnoRet: 77,
        args: [equals(0, 1000n), equals(1, 1n << 40n)],
      },
      { names: ["dup3"], action: "SCMP_ACT_ERRNO", errnoRet: 77, args: [equals(2, 3n)] },
    ],
  });
  const made = [
    call("dup3", 1000, 1n << 40n, 0),
    call("dup3", 1000, 1n << 41n, 0),
    call("dup3", 1001, 1n << 40n, 0),
    call("dup3", 1001, 1n << 41n, 3),
  ];
  expect(answers(filter, made)).toEqual([-77, -EBADF, -EBADF, -77]);
});

const killing = [
  ["SCMP_ACT_KILL", "SIGSYS"],
  ["SCMP_ACT_KILL_PROCESS", "SIGSYS"],
  ["SCMP_ACT_KILL_THREAD", "SIGSYS"],
  ["SCMP_ACT_TRAP", "SIGSYS"],
] as const;

test.each(killing)("%p ends the process at the call, however it is made", (action, signal) => {
  const filter = filterOf({
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86"],
    syscalls: [{ names: ["dup3"], action }],
  });
  for (const made of hasOthers ? [call("dup3"), compat("dup3")] : [call("dup3")]) {
    const result = probe(program, filter, [call("personality", 0xffffffff), made]);
    expect(result.answers).toEqual([0]);
    expect(result.signal).toBe(signal);
  }
});

test("ERRNO answers the rule's errno, the default action's, or EPERM; LOG and ALLOW let the call be made", () => {
  const filter = filterOf({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 55,
    syscalls: [
      { names: ["write", "exit_group"], action: "SCMP_ACT_ALLOW" },
      { names: ["dup3"], action: "SCMP_ACT_ERRNO", errnoRet: 66 },
      { names: ["fchdir"], action: "SCMP_ACT_ERRNO" },
      { names: ["dup"], action: "SCMP_ACT_LOG" },
      // With no tracer the kernel says that there is no such call.
      { names: ["fsync"], action: "SCMP_ACT_TRACE" },
    ],
  });
  const made = [call("dup3"), call("fchdir"), call("dup", 1000), call("fsync"), call("mount")];
  expect(answers(filter, made)).toEqual([-66, -EPERM, -EBADF, -ENOSYS, -55]);
  const plain = filterOf({
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [{ names: ["write", "exit_group"], action: "SCMP_ACT_ALLOW" }],
  });
  expect(answers(plain, [call("fchdir"), { nr: 999 }])).toEqual([-EPERM, -ENOSYS]);
});

// See hasOthers.
test.skipIf(!hasOthers)("an architecture that a profile does not list cannot be called through", () => {
  const native = { defaultAction: "SCMP_ACT_ALLOW" };
  for (const made of [compat("getpid"), { nr: X32 + nr("getpid") }]) {
    expect(probe(program, filterOf(native), [made])).toMatchObject({ answers: [], signal: "SIGSYS" });
  }
  const listed = filterOf({ ...native, architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] });
  const [compatPid, x32Pid] = answers(listed, [compat("getpid"), { nr: X32 + nr("getpid") }]);
  expect(compatPid).toBeGreaterThan(1);
  // Most kernels are built without x32: then it is the kernel that says so.
  expect(x32Pid === -ENOSYS || x32Pid! > 1).toBe(true);
});

// See hasOthers.
test.skipIf(!hasOthers)("archMap lists the architectures below the native one", () => {
  const archMap = [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }];
  const filter = filterOf({ defaultAction: "SCMP_ACT_ALLOW", archMap });
  expect(answers(filter, [compat("dup3", 1000, 5, 0)])).toEqual([-EBADF]);
  expect(probe(program, filter, [{ nr: X32 + nr("getpid") }]).signal).toBe("SIGSYS");
});

// See hasOthers.
test.skipIf(!hasOthers)(
  "socketcall, through which 32-bit programs make sockets too, is filtered like socket",
  () => {
    const filter = filterOf({
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: ["SCMP_ARCH_X86"],
      syscalls: [{ names: ["socket"], action: "SCMP_ACT_ERRNO", errnoRet: 77 }],
    });
    const made = [compat("socketcall", 1, 0), compat("socketcall", 2, 0), compat("socket", 1, 1, 0)];
    expect(answers(filter, made)).toEqual([-77, -EFAULT, -77]);
  },
);

test("the flags of a profile are accepted, and mean nothing without a listener where they are its", () => {
  const flags = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map(
    (name) => `SECCOMP_FILTER_FLAG_${name}`,
  );
  const filter = filterOf({ defaultAction: "SCMP_ACT_LOG", flags });
  expect(filter.flags).toBe(7);
  expect(answers(filter, [call("dup3", 1000, 5, 0)])).toEqual([-EBADF]);
});

test("a filter of thousands of instructions, with jumps beyond 255, is accepted and followed", () => {
  const args = Array.from({ length: 60 }, (_, value) => ({
    index: value % 6,
    value: BigInt(value) << 33n,
    op: "SCMP_CMP_EQ",
  }));
  const names = "dup3 dup dup2 close flock fsync fchmod fchown ftruncate fstat".split(" ");
  const filter = filterOf({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: names.map((name, index) => ({
      names: [name],
      action: "SCMP_ACT_ERRNO",
      errnoRet: 100 + index,
      args,
    })),
  });
  expect(filter.instructions.length / 8).toBeGreaterThan(2000);
  const made = [call("dup3", 1000, 1n << 33n, 0), call("dup", 1n << 32n), call("dup", 6n << 33n)];
  // dup of descriptor 0, of which only the lower half counts, succeeds and gives a new one.
  const [first, second, third] = answers(filter, made);
  expect([first, third]).toEqual([-100, -101]);
  expect(second).toBeGreaterThan(2);
});

// SPDX-License-Identifier: Apache-2.0
import { BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE } from "../abi/bpf.ts";
import { ERRNO } from "../abi/errno.ts";
import {
  __X32_SYSCALL_BIT,
  AUDIT_ARCH_AARCH64,
  AUDIT_ARCH_ARM,
  AUDIT_ARCH_I386,
  AUDIT_ARCH_X86_64,
  SECCOMP_DATA,
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
} from "../abi/seccomp.ts";
import { ARCHITECTURE, type Architecture } from "../architecture.ts";
import { BackwardAssembler, type Label } from "./assembler.ts";
import type { SeccompProfile } from "./profile.ts";
import { always, keyOf, type Range, rangesBetween, type Target } from "./range.ts";
import { defaultAnswer, highestNamed, outcomesByNumber } from "./rules.ts";
import { type Searches, writeSearch } from "./search.ts";
import type { SyscallAbi } from "./syscall-table.ts";

// The shape of a filter:
//
//   load arch ── x86-64 ── load nr ── search by number ── outcome
//             ── i386 ──── load nr ── search by number ── outcome
//             ── other ─── kill the process
//
// and on aarch64 the same with arm in the place of i386. x32 calls carry the x86-64 architecture and numbers from 2^30 on.
//
// The kernel checks, translates and compiles a filter anew for every process that installs it, so that a short one makes
// launches and execs quicker; a search takes some eight comparisons (search.ts). Only loads of arch and nr, comparisons,
// masks and returns come before an unconditional outcome, which is what lets the kernel remember such calls in a bitmap
// and not run the filter for them at all.

/** What a machine's calls are told by, and those of its 32-bit programs, which a profile may list. */
interface Machine {
  readonly audit: number;
  readonly write: (searches: Searches, profile: SeccompProfile) => Label;
  readonly narrow: { readonly listed: string; readonly abi: SyscallAbi; readonly audit: number };
}

const MACHINES: Readonly<Record<Architecture, Machine>> = {
  x86_64: {
    audit: AUDIT_ARCH_X86_64,
    write: writeX86_64,
    narrow: { listed: "SCMP_ARCH_X86", abi: "x86", audit: AUDIT_ARCH_I386 },
  },
  aarch64: {
    audit: AUDIT_ARCH_AARCH64,
    write: writeAarch64,
    narrow: { listed: "SCMP_ARCH_ARM", abi: "arm", audit: AUDIT_ARCH_ARM },
  },
};

/**
 * The profile as struct sock_filter[], for seccomp(2) on a machine of `architecture`.
 *
 * As with runc: the native architecture is always filtered; calls through one that is not listed kill
 * the process; names that the tables do not have are passed over; and where the default action
 * refuses, calls newer than the newest one named answer ENOSYS, so that programs fall back to older ones.
 */
export function compileSeccomp(
  profile: SeccompProfile,
  architecture: Architecture = ARCHITECTURE,
): Uint8Array {
  const { audit, write, narrow } = MACHINES[architecture];
  const program = new BackwardAssembler();
  const searches: Searches = { program, written: new Map() };
  let start = program.return(SECCOMP_RET_KILL_PROCESS);
  if (profile.architectures.includes(narrow.listed)) {
    program.runInto(writeSearch(searches, rangesOf(profile, narrow.abi, 0), 32));
    const number = program.load(SECCOMP_DATA.nr);
    start = program.branch(BPF_JEQ, narrow.audit, number, start);
  }
  program.runInto(write(searches, profile));
  const number = program.load(SECCOMP_DATA.nr);
  program.branch(BPF_JEQ, audit, number, start);
  program.load(SECCOMP_DATA.arch);
  return program.finish();
}

const FLAGS = {
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  // How long a call may wait for an agent's verdict; none does, and the kernel takes it beside a listener only.
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 0,
} as const;

/** The profile's flags as seccomp(2) takes them. */
export function seccompFlags(profile: SeccompProfile): number {
  return profile.flags.reduce((flags, name) => flags | FLAGS[name], 0);
}

const KILL = always(SECCOMP_RET_KILL_PROCESS);
const NO_SUCH_CALL = always(SECCOMP_RET_ERRNO | ERRNO.ENOSYS);

// A tracer that wants a call skipped sets its number to -1 (seccomp(2)): nothing is left to refuse.
const SKIPPED: Range = { first: 0xffffffff, target: always(SECCOMP_RET_ALLOW) };

/**
 * Native and x32 calls together: they differ in a bit of the number. Most numbers have the same name in both, so that an
 * x32 call is looked for without that bit where the outcome is the same.
 */
function writeX86_64(searches: Searches, profile: SeccompProfile): Label {
  const { program } = searches;
  const native = rangesOf(profile, "x86_64", 0);
  const lower = writeSearch(searches, native, 64);
  let x32: Range[] = [{ first: __X32_SYSCALL_BIT, target: KILL }];
  if (profile.architectures.includes("SCMP_ARCH_X32")) {
    program.runInto(lower);
    const asNative = program.calculate(BPF_ALU | BPF_AND, ~__X32_SYSCALL_BIT);
    const above = native.map(({ first, target }) => ({ first: first + __X32_SYSCALL_BIT, target }));
    x32 = sharing(rangesOf(profile, "x32", __X32_SYSCALL_BIT), above, asNative);
  }
  const upper = writeSearch(searches, [...x32, SKIPPED], 32);
  return program.branch(BPF_JGE, __X32_SYSCALL_BIT, upper, lower);
}

function writeAarch64(searches: Searches, profile: SeccompProfile): Label {
  return writeSearch(searches, [...rangesOf(profile, "aarch64", 0), SKIPPED], 64);
}

/** Every number from `lowest` on, in as few ranges as there are changes of outcome. */
function rangesOf(profile: SeccompProfile, abi: SyscallAbi, lowest: number): Range[] {
  const outcomes = outcomesByNumber(profile, abi);
  const unnamed = always(defaultAnswer(profile));
  const newest = PERMISSIVE.has(profile.defaultAction) ? undefined : highestNamed(profile, abi);
  const edges = new Set([lowest, (newest ?? lowest) + 1]);
  for (const nr of outcomes.keys()) edges.add(nr).add(nr + 1);
  return rangesBetween(
    edges,
    (nr) => outcomes.get(nr) ?? (newest !== undefined && nr > newest ? NO_SUCH_CALL : unnamed),
  );
}

/** Default actions under which a program can learn by itself that a call does not exist. */
const PERMISSIVE: ReadonlySet<string> = new Set(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"]);

/** The same ranges, but that numbers go to `label` where that has the same outcome for them, whatever the arguments. */
function sharing(ranges: readonly Range[], there: readonly Range[], label: Label): Range[] {
  const edges = new Set([...ranges, ...there].map(({ first }) => first));
  return rangesBetween(edges, (nr) => {
    const [own, other] = [ranges, there].map((list) => targetOf(list, nr)) as [Target, Target];
    return isPlain(own) && keyOf(own) === keyOf(other) ? label : own;
  });
}

function targetOf(ranges: readonly Range[], nr: number): Target {
  return (ranges.findLast(({ first }) => first <= nr) as Range).target;
}

function isPlain(target: Target): boolean {
  return typeof target === "number" || target.alternatives.length === 0;
}

// SPDX-License-Identifier: Apache-2.0
import { BPF_JEQ, BPF_JGE } from "../abi/bpf.ts";
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
import { type ArgumentBits, writeCondition } from "./condition.ts";
import type { SeccompProfile } from "./profile.ts";
import { defaultAnswer, highestNamed, type Outcome, outcomesByNumber } from "./rules.ts";
import type { SyscallAbi } from "./syscall-table.ts";

// The shape of a filter:
//
//   load arch ── x86-64 ── load nr ── binary search over ranges of numbers ── outcome
//             ── i386 ──── load nr ── binary search over ranges of numbers ── outcome
//             ── other ─── kill the process
//
// and on aarch64 the same with arm in the place of i386.
//
// Neighbouring numbers with the same outcome are one range, so the search takes six or seven
// comparisons. x32 calls carry the x86-64 architecture and numbers from 2^30 on: more ranges of the
// same kind. Only loads of arch and nr, comparisons and returns come before an unconditional outcome,
// which is what lets the kernel remember such calls in a bitmap and not run the filter for them at all.

/** What a machine's calls are told by, and those of its 32-bit programs, which a profile may list. */
interface Machine {
  readonly audit: number;
  readonly write: (program: BackwardAssembler, profile: SeccompProfile) => Label;
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
  let start = program.return(SECCOMP_RET_KILL_PROCESS);
  if (profile.architectures.includes(narrow.listed)) {
    program.runInto(writeSearch(program, rangesOf(profile, narrow.abi, 0), 32));
    const number = program.load(SECCOMP_DATA.nr);
    start = program.branch(BPF_JEQ, narrow.audit, number, start);
  }
  program.runInto(write(program, profile));
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

/** What happens from number `first` on, up to the next range. */
interface Range {
  readonly first: number;
  readonly outcome: Outcome;
}

const KILL = always(SECCOMP_RET_KILL_PROCESS);
const NO_SUCH_CALL = always(SECCOMP_RET_ERRNO | ERRNO.ENOSYS);

// A tracer that wants a call skipped sets its number to -1 (seccomp(2)): nothing is left to refuse.
const SKIPPED: Range = { first: 0xffffffff, outcome: always(SECCOMP_RET_ALLOW) };

/** Native and x32 calls together: they differ only in a bit of the number. */
function writeX86_64(program: BackwardAssembler, profile: SeccompProfile): Label {
  const x32 = profile.architectures.includes("SCMP_ARCH_X32")
    ? rangesOf(profile, "x32", __X32_SYSCALL_BIT)
    : [{ first: __X32_SYSCALL_BIT, outcome: KILL }];
  const upper = writeSearch(program, [...x32, SKIPPED], 32);
  const lower = writeSearch(program, rangesOf(profile, "x86_64", 0), 64);
  return program.branch(BPF_JGE, __X32_SYSCALL_BIT, upper, lower);
}

function writeAarch64(program: BackwardAssembler, profile: SeccompProfile): Label {
  return writeSearch(program, [...rangesOf(profile, "aarch64", 0), SKIPPED], 64);
}

/** Every number from `lowest` on, in as few ranges as there are changes of outcome. */
function rangesOf(profile: SeccompProfile, abi: SyscallAbi, lowest: number): Range[] {
  const outcomes = outcomesByNumber(profile, abi);
  const unnamed = always(defaultAnswer(profile));
  const newest = PERMISSIVE.has(profile.defaultAction) ? undefined : highestNamed(profile, abi);
  const outcomeOf = (nr: number) =>
    outcomes.get(nr) ?? (newest !== undefined && nr > newest ? NO_SUCH_CALL : unnamed);

  const edges = new Set([lowest, (newest ?? lowest) + 1]);
  for (const nr of outcomes.keys()) edges.add(nr).add(nr + 1);
  const ranges: Range[] = [];
  for (const first of [...edges].sort((a, b) => a - b)) {
    const outcome = outcomeOf(first);
    const former = ranges.at(-1);
    if (former === undefined || keyOf(former.outcome) !== keyOf(outcome)) ranges.push({ first, outcome });
  }
  return ranges;
}

/** Default actions under which a program can learn by itself that a call does not exist. */
const PERMISSIVE: ReadonlySet<string> = new Set(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"]);

function writeSearch(program: BackwardAssembler, ranges: readonly Range[], bits: ArgumentBits): Label {
  const written = new Map<string, Label>();
  const write = (from: number, to: number): Label => {
    const middle = (from + to) >> 1;
    const range = ranges[middle] as Range;
    if (to - from === 1) return writeOutcome(program, range.outcome, bits, written);
    const upper = write(middle, to);
    const lower = write(from, middle);
    return program.branch(BPF_JGE, range.first, upper, lower);
  };
  return write(0, ranges.length);
}

/** Writes the tests of an outcome, or finds those of an equal one. */
function writeOutcome(
  program: BackwardAssembler,
  outcome: Outcome,
  bits: ArgumentBits,
  written: Map<string, Label>,
): Label {
  let start = program.return(outcome.otherwise);
  if (outcome.alternatives.length === 0) return start;
  const former = written.get(keyOf(outcome));
  if (former !== undefined) return former;
  for (const { conditions, answer } of outcome.alternatives.toReversed()) {
    const fails = start;
    let holds = program.return(answer);
    for (const condition of conditions.toReversed()) {
      holds = writeCondition(program, condition, bits, holds, fails);
    }
    start = holds;
  }
  written.set(keyOf(outcome), start);
  return start;
}

function always(answer: number): Outcome {
  return { alternatives: [], otherwise: answer };
}

/** Equal for outcomes that are the same in effect. */
function keyOf({ alternatives, otherwise }: Outcome): string {
  const tests = alternatives.map(({ conditions, answer }) => [
    answer,
    ...conditions.map(({ index, op, value, valueTwo }) => `${index} ${op} ${value} ${valueTwo}`),
  ]);
  return JSON.stringify([otherwise, tests]);
}

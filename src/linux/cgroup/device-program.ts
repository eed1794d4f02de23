// SPDX-License-Identifier: Apache-2.0
import {
  BPF_ALU64,
  BPF_AND,
  BPF_DEVCG_ACC_MKNOD,
  BPF_DEVCG_ACC_READ,
  BPF_DEVCG_ACC_WRITE,
  BPF_DEVCG_DEV_BLOCK,
  BPF_DEVCG_DEV_CHAR,
  BPF_EXIT,
  BPF_JEQ,
  BPF_JMP,
  BPF_JMP32,
  BPF_JNE,
  BPF_K,
  BPF_LDX,
  BPF_MEM,
  BPF_MOV,
  BPF_RSH,
  BPF_W,
  BPF_X,
} from "../abi/bpf.ts";
import type { BpfInstruction } from "../bpf.ts";
import type { DeviceException, DevicePolicy } from "./device-rules.ts";

// Registers: r0 the answer, r1 struct bpf_cgroup_dev_ctx, then what was loaded from it.
const ANSWER = 0;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;
const SCRATCH = 6;

const ANY = -1;
const ALL_ACCESS = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
const ACCESS_BITS: Readonly<Record<string, number>> = {
  m: BPF_DEVCG_ACC_MKNOD,
  r: BPF_DEVCG_ACC_READ,
  w: BPF_DEVCG_ACC_WRITE,
};

/**
 * The policy as a program of type BPF_PROG_TYPE_CGROUP_DEVICE, which answers 1 for yes and 0 for no.
 *
 * As in cgroup v1, an exception that allows must allow everything that is asked for, while one that
 * forbids decides as soon as it forbids any of it.
 */
export function deviceProgram(policy: DevicePolicy): BpfInstruction[] {
  return [
    load(TYPE, 0),
    move(ACCESS, TYPE),
    { code: BPF_ALU64 | BPF_RSH | BPF_K, destination: ACCESS, immediate: 16 },
    { code: BPF_ALU64 | BPF_AND | BPF_K, destination: TYPE, immediate: 0xffff },
    load(MAJOR, 4),
    load(MINOR, 8),
    ...policy.exceptions.flatMap((exception) => judge(exception, !policy.allowsByDefault)),
    ...answer(policy.allowsByDefault),
  ];
}

/** Answers for the devices of one exception, and goes on behind it for others. */
function judge(exception: DeviceException, allows: boolean): BpfInstruction[] {
  const { type, major, minor, access } = exception;
  const bits = [...access].reduce((sum, letter) => sum | (ACCESS_BITS[letter] ?? 0), 0);
  const wanted = type === "c" ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK;
  const tests: BpfInstruction[] = [unlessEqual(TYPE, wanted)];
  if (allows && bits !== ALL_ACCESS) {
    tests.push(move(SCRATCH, ACCESS), masked(SCRATCH, ALL_ACCESS & ~bits), unlessEqual(SCRATCH, 0));
  }
  if (!allows) tests.push(move(SCRATCH, ACCESS), masked(SCRATCH, bits), ifEqual(SCRATCH, 0));
  if (major !== ANY) tests.push(unlessEqual(MAJOR, major));
  if (minor !== ANY) tests.push(unlessEqual(MINOR, minor));
  const block = [...tests, ...answer(allows)];
  // Every jump among the tests leads to what follows the block.
  return block.map((instruction, index) =>
    isJump(instruction) ? { ...instruction, offset: block.length - index - 1 } : instruction,
  );
}

function answer(allows: boolean): BpfInstruction[] {
  return [
    { code: BPF_ALU64 | BPF_MOV | BPF_K, destination: ANSWER, immediate: allows ? 1 : 0 },
    { code: BPF_JMP | BPF_EXIT },
  ];
}

function load(destination: number, offset: number): BpfInstruction {
  return { code: BPF_LDX | BPF_W | BPF_MEM, destination, source: CONTEXT, offset };
}

function move(destination: number, source: number): BpfInstruction {
  return { code: BPF_ALU64 | BPF_MOV | BPF_X, destination, source };
}

function masked(destination: number, mask: number): BpfInstruction {
  return { code: BPF_ALU64 | BPF_AND | BPF_K, destination, immediate: mask };
}

/** Comparisons of 32 bits: a constant of a 64-bit one would be sign-extended. */
function unlessEqual(destination: number, immediate: number): BpfInstruction {
  return { code: BPF_JMP32 | BPF_JNE | BPF_K, destination, immediate };
}

function ifEqual(destination: number, immediate: number): BpfInstruction {
  return { code: BPF_JMP32 | BPF_JEQ | BPF_K, destination, immediate };
}

function isJump({ code }: BpfInstruction): boolean {
  return code === (BPF_JMP32 | BPF_JNE | BPF_K) || code === (BPF_JMP32 | BPF_JEQ | BPF_K);
}

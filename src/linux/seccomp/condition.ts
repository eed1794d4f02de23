// SPDX-License-Identifier: Apache-2.0
import { BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JGT } from "../abi/bpf.ts";
import { SECCOMP_DATA } from "../abi/seccomp.ts";
import type { BackwardAssembler, Label } from "./assembler.ts";
import type { SeccompCondition } from "./profile.ts";

const LOW_HALF = 0xffffffffn;

/** How wide a system call's arguments are: an ABI of 32 bits leaves the upper half without meaning. */
export type ArgumentBits = 32 | 64;

/** Writes the test of one argument, leading to `holds` or `fails`; returns where it begins. */
export function writeCondition(
  program: BackwardAssembler,
  condition: SeccompCondition,
  bits: ArgumentBits,
  holds: Label,
  fails: Label,
): Label {
  const { op, index, value, valueTwo } = condition;
  const comparison = { program, index, bits };
  switch (op) {
    case "SCMP_CMP_EQ":
      return equal(comparison, value, holds, fails);
    case "SCMP_CMP_NE":
      return equal(comparison, value, fails, holds);
    case "SCMP_CMP_GT":
      return ordered(comparison, BPF_JGT, value, holds, fails);
    case "SCMP_CMP_GE":
      return ordered(comparison, BPF_JGE, value, holds, fails);
    case "SCMP_CMP_LT":
      return ordered(comparison, BPF_JGE, value, fails, holds);
    case "SCMP_CMP_LE":
      return ordered(comparison, BPF_JGT, value, fails, holds);
    case "SCMP_CMP_MASKED_EQ":
      // Bits outside the mask can never remain, so they are not asked for (as in libseccomp).
      return equal(comparison, valueTwo & value, holds, fails, value);
    default: {
      const unknown: never = op;
      throw new Error(`no such comparison: ${unknown}`);
    }
  }
}

/** Writes the load of one half of an argument, which runs into `next`. */
export function writeHalf(
  program: BackwardAssembler,
  index: number,
  half: "low" | "high",
  next: Label,
): Label {
  program.runInto(next);
  return program.load(argumentOffset(index, half));
}

interface Comparison {
  readonly program: BackwardAssembler;
  readonly index: number;
  readonly bits: ArgumentBits;
}

function equal(
  { program, index, bits }: Comparison,
  value: bigint,
  yes: Label,
  no: Label,
  mask?: bigint,
): Label {
  const half = (name: "low" | "high", whenEqual: Label): Label => {
    program.branch(BPF_JEQ, halfOf(value, name), whenEqual, no);
    if (mask !== undefined) program.calculate(BPF_ALU | BPF_AND, halfOf(mask, name));
    return program.load(argumentOffset(index, name));
  };
  const low = half("low", yes);
  return bits === 32 ? low : half("high", low);
}

function ordered(
  { program, index, bits }: Comparison,
  test: number,
  value: bigint,
  yes: Label,
  no: Label,
): Label {
  program.branch(test, halfOf(value, "low"), yes, no);
  const low = program.load(argumentOffset(index, "low"));
  if (bits === 32) return low;
  const high = halfOf(value, "high");
  const same = program.branch(BPF_JEQ, high, low, no);
  program.branch(BPF_JGT, high, yes, same);
  return program.load(argumentOffset(index, "high"));
}

function halfOf(value: bigint, half: "low" | "high"): number {
  return Number(half === "low" ? value & LOW_HALF : value >> 32n);
}

function argumentOffset(index: number, half: "low" | "high"): number {
  return SECCOMP_DATA.args + 8 * index + (half === "low" ? 0 : 4);
}

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type BpfInstruction, encodeProgram } from "../bpf.ts";
import { deviceProgram } from "./device-program.ts";
import { DEFAULT_DEVICE_RULES, type DevicePolicy, devicePolicy } from "./device-rules.ts";

interface DeviceAccess {
  readonly type: "b" | "c";
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/** Runs the few instructions that device programs are made of, registers being 64 bits wide. */
function run(program: readonly BpfInstruction[], { type, major, minor, access }: DeviceAccess): number {
  const bits = [...access].reduce((sum, letter) => sum | ({ m: 1, r: 2, w: 4 }[letter] ?? 0), 0);
  const context = [(type === "b" ? 1 : 2) | (bits << 16), major, minor].map((word) => BigInt(word >>> 0));
  const registers = Array<bigint>(11).fill(0n);
  const low = (value: bigint) => BigInt.asUintN(32, value);
  for (let at = 0; ; at++) {
    const { code, destination = 0, source = 0, offset = 0, immediate = 0 } = program[at] as BpfInstruction;
    const constant = BigInt.asUintN(64, BigInt(immediate | 0));
    const value = registers[destination] as bigint;
    if (code === 0x61) registers[destination] = context[offset / 4] as bigint;
    else if (code === 0xbf) registers[destination] = registers[source] as bigint;
    else if (code === 0xb7) registers[destination] = constant;
    else if (code === 0x77) registers[destination] = value >> constant;
    else if (code === 0x57) registers[destination] = value & constant;
    else if (code === 0x56) at += low(value) === low(constant) ? 0 : offset;
    else if (code === 0x16) at += low(value) === low(constant) ? offset : 0;
    else if (code === 0x95) return Number(registers[0]);
    else throw new Error(`unknown instruction ${code} at ${at}`);
  }
}

/** What the policy says, straight from its definition. */
function allows({ allowsByDefault, exceptions }: DevicePolicy, wanted: DeviceAccess): boolean {
  const about = exceptions.filter(
    ({ type, major, minor }) =>
      type === wanted.type && [-1, wanted.major].includes(major) && [-1, wanted.minor].includes(minor),
  );
  const letters = [...wanted.access];
  return allowsByDefault
    ? !about.some(({ access }) => letters.some((letter) => access.includes(letter)))
    : about.some(({ access }) => letters.every((letter) => access.includes(letter)));
}

const anyNumber = fc.constantFrom(0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff);
const anyAccess = fc.constantFrom("r", "w", "m", "rw", "rm", "wm", "rwm");
const anyType = fc.constantFrom("b" as const, "c" as const);
const anyPolicy = fc.record({
  allowsByDefault: fc.boolean(),
  exceptions: fc.array(
    fc.record({
      type: anyType,
      major: fc.oneof(fc.constant(-1), anyNumber),
      minor: fc.oneof(fc.constant(-1), anyNumber),
      access: anyAccess,
    }),
    { maxLength: 8 },
  ),
});
const anyDevice = fc.record({ type: anyType, major: anyNumber, minor: anyNumber, access: anyAccess });

test("the program answers what the policy says, for any policy and device", () => {
  fc.assert(
    fc.property(anyPolicy, fc.array(anyDevice, { minLength: 10, maxLength: 10 }), (policy, devices) => {
      const program = deviceProgram(policy);
      for (const device of devices) expect(run(program, device)).toBe(allows(policy, device) ? 1 : 0);
    }),
    { numRuns: 500 },
  );
});

test("the default program lets nodes be made and null be opened, and keeps disks closed", () => {
  const program = deviceProgram(devicePolicy(DEFAULT_DEVICE_RULES));
  expect(run(program, { type: "b", major: 8, minor: 0, access: "m" })).toBe(1);
  expect(run(program, { type: "b", major: 8, minor: 0, access: "r" })).toBe(0);
  expect(run(program, { type: "c", major: 1, minor: 3, access: "rw" })).toBe(1);
  expect(run(program, { type: "c", major: 136, minor: 7, access: "rw" })).toBe(1);
  expect(run(program, { type: "c", major: 1, minor: 11, access: "r" })).toBe(0);
});

test("an instruction is encoded as the kernel's struct bpf_insn", () => {
  const bytes = encodeProgram([{ code: 0x61, destination: 2, source: 1, offset: -2, immediate: 0xfffffffe }]);
  expect([...bytes]).toEqual([0x61, 0x12, 0xfe, 0xff, 0xfe, 0xff, 0xff, 0xff]);
});

// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ERRNO } from "../linux/abi/errno.ts";
import { SYS } from "../linux/abi/syscall-numbers.ts";
import { newProgram, PROGRAM_ADDRESS } from "./program.ts";

function words(bytes: Uint8Array, at: number, count: number): number[] {
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, index) => Number(view.getBigInt64(at + index * 8, true)));
}

function textAt(bytes: Uint8Array, address: number): string {
  const from = address - PROGRAM_ADDRESS;
  return new TextDecoder().decode(bytes.subarray(from, bytes.indexOf(0, from)));
}

test("an entry holds the number of the call, its arguments, and where the answer goes", () => {
  const program = newProgram("p");
  const fd = program.main.answer("open", "openat", [-100, "/etc/x", 0o2000000, 0]);
  program.main.step("close", "close", [fd]);
  const image = program.build();
  const start = image.tableAddress - PROGRAM_ADDRESS;
  const [op, a1, a2 = 0, a3, , , , result] = words(image.bytes, start, 8);
  expect(op).toBe(SYS.openat);
  expect(a1).toBe(-100);
  expect(textAt(image.bytes, a2)).toBe("/etc/x");
  expect(a3).toBe(0o2000000);
  const [closeOp, closeA1] = words(image.bytes, start + 64, 2);
  // Bit 16 says that the first argument is where the value is, and that is where the answer went.
  expect(closeOp).toBe(SYS.close | (1 << 16));
  expect(closeA1).toBe(result as number);
});

test("the table ends with all ones", () => {
  const program = newProgram("p");
  program.main.step("sync", "sync", []);
  const image = program.build();
  expect(words(image.bytes, image.tableAddress - PROGRAM_ADDRESS + 64, 1)).toEqual([-1]);
});

test("tolerated errors are in the upper half of the first word", () => {
  const program = newProgram("p");
  program.main.step("mkdir", "mkdirat", [0, "x", 0o755], { tolerate: ["EEXIST", "EROFS"] });
  const view = new DataView(program.build().bytes.buffer);
  expect(view.getUint16(16 + 4, true)).toBe(ERRNO.EEXIST);
  expect(view.getUint16(16 + 6, true)).toBe(ERRNO.EROFS);
});

test("a fork names its child's table in the third argument, and steps are named by depth", () => {
  const program = newProgram("outer");
  const child = program.main.fork("clone3", "inner", new Uint8Array(88));
  program.main.step("write", "write", [1, "x", 1]);
  child.step("exit", "exit", [0]);
  const image = program.build();
  const start = image.tableAddress - PROGRAM_ADDRESS;
  const childTable = words(image.bytes, start, 4)[3] as number;
  expect(words(image.bytes, childTable - PROGRAM_ADDRESS, 1)).toEqual([SYS.exit]);
  expect(image.stepName(0, 1)).toBe("outer: write");
  expect(image.stepName(1, 0)).toBe("inner: exit");
});

test("a structure's pointers and an argument vector are absolute addresses", () => {
  const program = newProgram("p");
  const argv = program.stringArray(["a", "bc"]);
  program.main.step("exec", "execve", ["a", argv, 0]);
  const image = program.build();
  const address = words(image.bytes, image.tableAddress - PROGRAM_ADDRESS, 3)[2] as number;
  const [first = 0, second = 0, end] = words(image.bytes, address - PROGRAM_ADDRESS, 3);
  expect([textAt(image.bytes, first), textAt(image.bytes, second), end]).toEqual(["a", "bc", 0]);
});

test("large and negative numbers keep their 64 bits", () => {
  const program = newProgram("p");
  program.main.step("x", "lseek", [2 ** 40 + 5, -2, 0x2_0000_0001n]);
  const image = program.build();
  expect(words(image.bytes, image.tableAddress - PROGRAM_ADDRESS + 8, 3)).toEqual([
    2 ** 40 + 5,
    -2,
    0x2_0000_0001,
  ]);
});

test("a block of one program cannot be used in another", () => {
  const foreign = newProgram("a").data(new Uint8Array(8));
  const program = newProgram("b");
  program.main.step("x", "write", [1, foreign, 8]);
  expect(() => program.build()).toThrow("another program");
});

test("text with a NUL, at which the kernel would stop, is refused", () => {
  expect(() => newProgram("p").text("a\0b")).toThrow("EINVAL");
});

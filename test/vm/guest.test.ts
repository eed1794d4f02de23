// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ARCHITECTURE } from "../../src/linux/architecture.ts";
import { guest, guestOf, isOwn, podrt, vmDir } from "./guest.ts";

test("each machine is emulated by a program of its own, and others are refused by name", () => {
  expect(guestOf("x86_64").emulator).toBe("qemu-system-x86_64");
  expect(guestOf("aarch64").emulator).toBe("qemu-system-aarch64");
  expect(() => guestOf("riscv64")).toThrow(
    "ARCH=riscv64: there is no such virtual machine; there are x86_64 and aarch64",
  );
});

// Who runs the tests with ARCH set tests for that machine.
test.skipIf(process.env["ARCH"] !== undefined)("unless told, it is one of this machine's kind", () => {
  expect([guest.architecture, isOwn]).toEqual([ARCHITECTURE, true]);
  expect(vmDir).toEndWith("/.build/vm");
  expect(podrt).toEndWith("/dist/podrt");
});

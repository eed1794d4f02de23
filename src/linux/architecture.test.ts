// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { UnimplementedError } from "../errors.ts";
import { refuseOtherMachines } from "./architecture.ts";

test("machines whose code this is not are refused by name", () => {
  refuseOtherMachines("x64");
  for (const other of ["arm64", "riscv64"]) {
    expect(() => refuseOtherMachines(other)).toThrow(UnimplementedError);
    expect(() => refuseOtherMachines(other)).toThrow(`x86-64 only, and this machine is ${other}`);
  }
});

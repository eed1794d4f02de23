// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { UnimplementedError } from "../errors.ts";
import { architectureOf } from "./architecture.ts";

test("machines whose code this is not are refused by name", () => {
  expect(architectureOf("x64")).toBe("x86_64");
  expect(architectureOf("arm64")).toBe("aarch64");
  for (const other of ["arm", "riscv64"]) {
    expect(() => architectureOf(other)).toThrow(UnimplementedError);
    expect(() => architectureOf(other)).toThrow(`x86-64 and aarch64, and this machine is ${other}`);
  }
});

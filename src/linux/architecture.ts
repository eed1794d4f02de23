// SPDX-License-Identifier: Apache-2.0
import { UnimplementedError } from "../errors.ts";

/**
 * Throws Unimplemented on every machine but x86-64: system calls, the launch engine and the monitor are its machine
 * code. `architecture` is as `process.arch` has it.
 */
export function refuseOtherMachines(architecture: string): void {
  if (architecture === "x64") return;
  throw new UnimplementedError(
    `pods run on x86-64 only, and this machine is ${architecture}: podrt's launch engine and its monitor are x86-64 machine code; only the pause is there for aarch64, in the image that \`podrt pause --image FILE\` writes`,
  );
}

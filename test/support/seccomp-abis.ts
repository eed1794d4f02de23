// SPDX-License-Identifier: Apache-2.0
import type { Architecture } from "../../src/linux/architecture.ts";
import type { SyscallAbi } from "../../src/linux/seccomp/syscall-table.ts";

/** What struct seccomp_data has as `arch` of calls through an ABI (AUDIT_ARCH_ of include/uapi/linux/audit.h). */
export const AUDIT: Readonly<Record<SyscallAbi, number>> = {
  x86_64: 0xc000003e,
  x86: 0x40000003,
  x32: 0xc000003e,
  aarch64: 0xc00000b7,
  arm: 0x40000028,
};

/** The machine whose kernel takes calls through an ABI. */
export const MACHINE: Readonly<Record<SyscallAbi, Architecture>> = {
  x86_64: "x86_64",
  x86: "x86_64",
  x32: "x86_64",
  aarch64: "aarch64",
  arm: "aarch64",
};

export const ABIS: readonly SyscallAbi[] = ["x86_64", "x86", "x32", "aarch64", "arm"];

/** What profiles call them. */
export function listedName(abi: SyscallAbi): string {
  return `SCMP_ARCH_${abi.toUpperCase()}`;
}

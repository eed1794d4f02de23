// SPDX-License-Identifier: Apache-2.0
import { COMMON_SYS } from "../abi/syscall-numbers.ts";
import { AARCH64_SYS } from "../abi/syscall-numbers-aarch64.ts";
import type { Architecture } from "../architecture.ts";
import { ARM_SYSCALLS } from "./syscalls-arm.ts";
import { X32_SYSCALLS, X86_64_SYSCALLS, X86_SYSCALLS } from "./syscalls-x86.ts";

/** The ABIs through which a process can call the kernel: each machine's own, x86 and x32 on x86-64, arm on aarch64. */
export type SyscallAbi = Architecture | "x86" | "x32" | "arm";

const TABLES: Readonly<Record<SyscallAbi, ReadonlyMap<string, number>>> = {
  x86_64: X86_64_SYSCALLS,
  x86: X86_SYSCALLS,
  x32: X32_SYSCALLS,
  aarch64: new Map(Object.entries({ ...AARCH64_SYS, ...COMMON_SYS })),
  arm: ARM_SYSCALLS,
};

/** System-call numbers by name, as struct seccomp_data shows them (with the x32 bit where it belongs). */
export function syscallTable(abi: SyscallAbi): ReadonlyMap<string, number> {
  return TABLES[abi];
}

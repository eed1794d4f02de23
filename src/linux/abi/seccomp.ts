// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/seccomp.h and include/uapi/linux/audit.h.

export const SECCOMP_SET_MODE_FILTER = 1;

export const SECCOMP_FILTER_FLAG_TSYNC = 1;
export const SECCOMP_FILTER_FLAG_LOG = 2;
export const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;

/** What a filter answers: the upper half is the action, the lower half its datum (errno, trace message). */
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_KILL_THREAD = 0x00000000;
export const SECCOMP_RET_TRAP = 0x00030000;
export const SECCOMP_RET_ERRNO = 0x00050000;
export const SECCOMP_RET_TRACE = 0x7ff00000;
export const SECCOMP_RET_LOG = 0x7ffc0000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;
export const SECCOMP_RET_DATA = 0x0000ffff;

export const AUDIT_ARCH_X86_64 = 0xc000003e;
export const AUDIT_ARCH_I386 = 0x40000003;
export const AUDIT_ARCH_AARCH64 = 0xc00000b7;
export const AUDIT_ARCH_ARM = 0x40000028;

/** Set in the number of every system call of the x32 ABI (arch/x86/include/uapi/asm/unistd.h). */
export const __X32_SYSCALL_BIT = 0x40000000;

/** Where the fields of struct seccomp_data are; arguments are 64 bits each, least significant half first. */
export const SECCOMP_DATA = { nr: 0, arch: 4, args: 16 } as const;

// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/bpf_common.h, filter.h and bpf.h: the parts of classic BPF that a
// seccomp filter uses, and of extended BPF and bpf(2) that a cgroup's device program needs.

/** Instruction classes (lowest three bits of an opcode). */
export const BPF_LD = 0x00;
export const BPF_LDX = 0x01;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_RET = 0x06;
export const BPF_JMP32 = 0x06;
export const BPF_ALU64 = 0x07;

/** Size and mode of a load. */
export const BPF_W = 0x00;
export const BPF_ABS = 0x20;
export const BPF_MEM = 0x60;

/** Operations. */
export const BPF_JA = 0x00;
export const BPF_JEQ = 0x10;
export const BPF_JGT = 0x20;
export const BPF_JGE = 0x30;
export const BPF_AND = 0x50;
export const BPF_RSH = 0x70;
export const BPF_JNE = 0x50;
export const BPF_MOV = 0xb0;
export const BPF_EXIT = 0x90;

/** Source of the operand: the constant in the instruction, or a register. */
export const BPF_K = 0x00;
export const BPF_X = 0x08;

/** The most instructions a classic filter may have. */
export const BPF_MAXINSNS = 4096;

/** Commands of bpf(2). */
export const BPF_PROG_LOAD = 5;
export const BPF_PROG_ATTACH = 8;
export const BPF_PROG_DETACH = 9;
export const BPF_PROG_GET_FD_BY_ID = 13;
export const BPF_PROG_QUERY = 16;

export const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
export const BPF_CGROUP_DEVICE = 6;
export const BPF_F_ALLOW_MULTI = 2;

/** What struct bpf_cgroup_dev_ctx says of the device (low half of access_type) and the access (high half). */
export const BPF_DEVCG_DEV_BLOCK = 1;
export const BPF_DEVCG_DEV_CHAR = 2;
export const BPF_DEVCG_ACC_MKNOD = 1;
export const BPF_DEVCG_ACC_READ = 2;
export const BPF_DEVCG_ACC_WRITE = 4;

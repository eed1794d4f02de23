// SPDX-License-Identifier: Apache-2.0
import { syscall } from "./syscall.ts";

// Magic numbers of include/uapi/linux/magic.h: file systems whose files the kernel makes up as they are read.
const KERNEL_MADE: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x1cd1, // devpts
  0x19800202, // mqueue
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xcafe4a11, // bpf
  0x6165676c, // pstore
  0xde5e81e4, // efivarfs
  0x42494e4d, // binfmt_misc
  0x62656570, // configfs
  0x6e736673, // nsfs
  0xf97cff8c, // selinuxfs
  0x67596969, // rpc_pipefs
]);

/** sizeof(struct statfs) of asm-generic/statfs.h with 64 bits; f_type comes first. */
const STATFS_BYTES = 120;

/** Whether an open file (O_PATH will do) is of a file system like /proc or /sys: without sizes, and without end. */
export function isKernelMade(fd: number): boolean {
  const status = new Uint8Array(STATFS_BYTES);
  syscall("fstatfs", fd, status);
  return KERNEL_MADE.has(Number(new DataView(status.buffer).getBigUint64(0, true)));
}

// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h, openat2.h.
import { ARCHITECTURE } from "../architecture.ts";

/** Flags of open(2) for which arch/arm64/include/uapi/asm/fcntl.h has bits of its own. */
const OPEN_FLAGS = {
  x86_64: { directory: 0o200000, nofollow: 0o400000 },
  aarch64: { directory: 0o40000, nofollow: 0o100000 },
}[ARCHITECTURE];

export const O_RDONLY = 0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_ASYNC = 0o20000;
export const O_DIRECTORY: number = OPEN_FLAGS.directory;
export const O_NOFOLLOW: number = OPEN_FLAGS.nofollow;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_TMPFILE: number = 0o20000000 | O_DIRECTORY;

export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_SETOWN = 8;
export const F_DUPFD_CLOEXEC = 1030;
export const FD_CLOEXEC = 1;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const AT_RECURSIVE = 0x8000;

export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

/** struct open_how of openat2(2). */
export function openHow(flags: number, mode: number, resolve: number): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(flags), BigInt(mode), BigInt(resolve)]).buffer);
}

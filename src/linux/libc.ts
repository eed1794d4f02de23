// SPDX-License-Identifier: Apache-2.0
import { CFunction, dlopen, FFIType, type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";
import { ARCHITECTURE } from "./architecture.ts";

/**
 * The only file that imports bun:ffi: libc by name, and a raw system-call gate.
 *
 * The gate exists because libc reports failure through `errno`, a thread-local that the JavaScript
 * engine may overwrite between the call and the read. The gate returns -errno in the result itself.
 */
const libc = dlopen("libc.so.6", {
  clone: { args: ["ptr", "ptr", "i32", "ptr"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  mprotect: { args: ["ptr", "u64", "i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
});

const PAGE_BYTES = 4096;
const PROT_READ_WRITE = 0x3;
const PROT_READ_EXEC = 0x5;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/**
 * Copies `code` to pages of their own, executable and no longer writable; they are never unmapped. On aarch64, whose
 * instruction caches do not see what is written, the kernel makes them do so when a page becomes executable for the
 * first time (arch/arm64/mm/flush.c): never write to such pages again.
 */
export function loadMachineCode(code: Uint8Array): number {
  const bytes = Math.ceil(code.length / PAGE_BYTES) * PAGE_BYTES;
  const address = mapMemory(bytes);
  memoryAt(address, bytes).set(code);
  if (libc.symbols.mprotect(address as Pointer, bytes, PROT_READ_EXEC) !== 0) {
    throw new Error("cannot make memory executable: mprotect(PROT_EXEC) was refused");
  }
  return address;
}

/** Maps `bytes` of zeroed private memory, outside the JavaScript heap; the caller owns it for ever. */
export function mapMemory(bytes: number): number {
  const address = libc.symbols.mmap(null, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (address === null || Number(address) === -1) throw new Error(`cannot map ${bytes} bytes of memory`);
  return Number(address);
}

/** A view of memory that `mapMemory` returned. */
export function memoryAt(address: number, bytes: number): Uint8Array {
  return new Uint8Array(toArrayBuffer(address as Pointer, 0, bytes));
}

/** The address of a buffer's first byte; valid while the caller keeps the buffer alive. */
export function addressOf(buffer: Uint8Array): number {
  return buffer.length === 0 ? 0 : ptr(buffer);
}

let kept: readonly Uint8Array[] = [];

/**
 * Keeps buffers reachable whose addresses were written into other buffers, which the garbage
 * collector cannot see: call it with them after the system call that used the addresses.
 */
export function keepAlive(...buffers: Uint8Array[]): void {
  kept = buffers;
  if (kept.length > 1_000_000) throw new Error("more buffers than a call can have");
}

const SYSCALL_GATE = {
  // System V: nr, a1..a5 arrive in rdi, rsi, rdx, rcx, r8, r9 and a6 on the stack; the kernel
  // wants them in rax, rdi, rsi, rdx, r10, r8, r9 and leaves its answer in rax.
  x86_64: Uint8Array.of(
    ...[0x48, 0x89, 0xf8], // mov rax, rdi
    ...[0x48, 0x89, 0xf7], // mov rdi, rsi
    ...[0x48, 0x89, 0xd6], // mov rsi, rdx
    ...[0x48, 0x89, 0xca], // mov rdx, rcx
    ...[0x4d, 0x89, 0xc2], // mov r10, r8
    ...[0x4d, 0x89, 0xc8], // mov r8, r9
    ...[0x4c, 0x8b, 0x4c, 0x24, 0x08], // mov r9, [rsp+8]
    ...[0x0f, 0x05], // syscall
    0xc3, // ret
  ),
  // AAPCS64: nr, a1..a6 arrive in x0 to x6; the kernel wants them in x8, x0 to x5 and leaves its answer in x0.
  aarch64: Uint8Array.of(
    ...[0xe8, 0x03, 0x00, 0xaa], // mov x8, x0
    ...[0xe0, 0x03, 0x01, 0xaa], // mov x0, x1
    ...[0xe1, 0x03, 0x02, 0xaa], // mov x1, x2
    ...[0xe2, 0x03, 0x03, 0xaa], // mov x2, x3
    ...[0xe3, 0x03, 0x04, 0xaa], // mov x3, x4
    ...[0xe4, 0x03, 0x05, 0xaa], // mov x4, x5
    ...[0xe5, 0x03, 0x06, 0xaa], // mov x5, x6
    ...[0x01, 0x00, 0x00, 0xd4], // svc #0
    ...[0xc0, 0x03, 0x5f, 0xd6], // ret
  ),
};

const rawSyscall = CFunction({
  ptr: loadMachineCode(SYSCALL_GATE[ARCHITECTURE]) as Pointer,
  args: Array(7).fill(FFIType.i64_fast) as FFIType[],
  returns: FFIType.i64_fast,
});

/** One system call, unchecked: the kernel's answer, -errno on failure. */
export function syscallRaw(
  nr: number,
  a1: number | bigint,
  a2: number | bigint,
  a3: number | bigint,
  a4: number | bigint,
  a5: number | bigint,
  a6: number | bigint,
): number {
  return Number(rawSyscall(nr, a1, a2, a3, a4, a5, a6));
}

/**
 * clone(2) through libc: `entry` is machine code run on `stackTop` with `argument`; see the man page for
 * `flags`. Returns the child's pid or -errno. With CLONE_VFORK the calling thread waits for the
 * child's execve or exit, so the memory behind all three stays valid by itself.
 */
export function clone(entry: number, stackTop: number, flags: number, argument: number): number {
  const pid = libc.symbols.clone(entry as Pointer, stackTop as Pointer, flags, argument as Pointer);
  return pid < 0 ? -errno() : pid;
}

/** setns(2) for the calling thread; 0 or -errno. Go back within the same synchronous block. */
export function setns(fd: number, nstype: number): number {
  return libc.symbols.setns(fd, nstype) < 0 ? -errno() : 0;
}

function errno(): number {
  const location = libc.symbols.__errno_location();
  return location === null ? 0 : read.i32(location, 0);
}

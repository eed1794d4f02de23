// SPDX-License-Identifier: Apache-2.0
import { ERRNO, errnoName } from "./abi/errno.ts";
import { SYS, type SyscallName } from "./abi/syscall-numbers.ts";
import { addressOf, syscallRaw } from "./libc.ts";

/** A number is passed as it is; a buffer by its address; a string as a NUL-terminated copy. */
export type SyscallArgument = number | bigint | Uint8Array | string | null;

/** The kernel as the rest of the source sees it; tests put a recording or failing one in its place. */
export interface Syscalls {
  /** The kernel's answer to one call: zero or more on success, -errno on failure. */
  call(name: SyscallName, args: readonly SyscallArgument[]): number;
}

/** A system call that failed: which, on what, and why. */
export class SyscallError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly subject: string;

  constructor(syscall: string, errno: number, subject = "") {
    super(`${syscall}${subject === "" ? "" : ` ${subject}`}: ${errnoName(errno)}`);
    this.name = "SyscallError";
    this.syscall = syscall;
    this.errno = errno;
    this.subject = subject;
  }

  /** `ENOENT` and the like. */
  get code(): string {
    return errnoName(this.errno);
  }
}

/** True when `error` is a failed system call with one of these error names. */
export function isErrno(error: unknown, ...codes: (keyof typeof ERRNO)[]): error is SyscallError {
  return error instanceof SyscallError && codes.some((code) => ERRNO[code] === error.errno);
}

const encoder = new TextEncoder();

/** The bytes of `text` and a closing NUL; a NUL inside is refused, since the kernel would stop there. */
export function cString(text: string): Uint8Array {
  if (text.includes("\0")) throw new SyscallError("argument", ERRNO.EINVAL, JSON.stringify(text));
  return encoder.encode(`${text}\0`);
}

/**
 * The copies of strings that the last calls were given: the kernel sees addresses only. A call has six arguments at most
 * and none is made within another, so that eight places outlast it.
 */
const copies: Uint8Array[] = Array(8).fill(encoder.encode(""));
let nextCopy = 0;

function word(value: SyscallArgument | undefined): number | bigint {
  if (typeof value === "number") return value;
  if (typeof value === "string") {
    const bytes = cString(value);
    copies[nextCopy++ & 7] = bytes;
    return addressOf(bytes);
  }
  if (value instanceof Uint8Array) return addressOf(value);
  return value ?? 0;
}

const realKernel: Syscalls = {
  // By index and without closures: some hundred calls are made for a pod, in code that seldom is warm.
  call: (name, args) =>
    syscallRaw(
      SYS[name],
      word(args[0]),
      word(args[1]),
      word(args[2]),
      word(args[3]),
      word(args[4]),
      word(args[5]),
    ),
};

let kernel: Syscalls = realKernel;

/** Replaces the kernel for a test; the answer puts the former one back. */
export function replaceKernel(replacement: (real: Syscalls) => Syscalls): () => void {
  const former = kernel;
  kernel = replacement(former);
  return () => {
    kernel = former;
  };
}

/** One call, repeated while interrupted; a failure is thrown as a SyscallError. */
export function syscall(name: SyscallName, ...args: SyscallArgument[]): number {
  const result = repeated(name, args);
  if (result < 0) throw new SyscallError(name, -result, subjectOf(args));
  return result;
}

/** One call, repeated while interrupted; the kernel's answer, -errno on failure. */
export function trySyscall(name: SyscallName, ...args: SyscallArgument[]): number {
  return repeated(name, args);
}

function repeated(name: SyscallName, args: readonly SyscallArgument[]): number {
  for (;;) {
    const result = kernel.call(name, args);
    // close(2) on Linux has closed the descriptor even when it reports EINTR: never repeated.
    if (result !== -ERRNO.EINTR || name === "close") return result;
  }
}

/** The paths among the arguments, for the error message. */
function subjectOf(args: readonly SyscallArgument[]): string {
  return args.filter((argument) => typeof argument === "string" && argument !== "").join(" ");
}

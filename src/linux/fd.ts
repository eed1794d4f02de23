// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFL,
  O_CLOEXEC,
  O_NONBLOCK,
} from "./abi/fcntl.ts";
import { SyscallError, syscall, trySyscall } from "./syscall.ts";

/** A file descriptor with an owner: closed once, by `using` or `close`. */
export class Fd implements Disposable {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  get number(): number {
    if (this.#number < 0) throw new Error("use of a closed file descriptor");
    return this.#number;
  }

  get isOpen(): boolean {
    return this.#number >= 0;
  }

  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    trySyscall("close", number);
  }

  /** Another descriptor of the same open file, close-on-exec, with an owner of its own and no number below `from`. */
  duplicate(from = 3): Fd {
    return new Fd(syscall("fcntl", this.number, F_DUPFD_CLOEXEC, from));
  }

  /** Gives the descriptor to somebody else, who closes it. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** openat(2) with O_CLOEXEC; `mode` counts where `flags` create. */
export function open(path: string, flags: number, mode = 0, directory = AT_FDCWD): Fd {
  return new Fd(syscall("openat", directory, path, flags | O_CLOEXEC, mode));
}

/** The same of a file that may not be there: undefined then. */
export function openIfThere(path: string, flags: number): Fd | undefined {
  const result = trySyscall("openat", AT_FDCWD, path, flags | O_CLOEXEC, 0);
  if (result === -ERRNO.ENOENT) return undefined;
  if (result < 0) throw new SyscallError("openat", -result, path);
  return new Fd(result);
}

/** pipe2(2): the read end and the write end, both close-on-exec. */
export function pipe(flags = 0): { read: Fd; write: Fd } {
  const pair = new Int32Array(2);
  syscall("pipe2", new Uint8Array(pair.buffer), flags | O_CLOEXEC);
  return { read: new Fd(pair[0] as number), write: new Fd(pair[1] as number) };
}

/** memfd_create(2), close-on-exec, with `content` written. */
export function memfd(name: string, content: Uint8Array, flags = 0): Fd {
  const MFD_CLOEXEC = 1;
  const made = new Fd(syscall("memfd_create", name, MFD_CLOEXEC | flags));
  orClosed(made, () => writeAll(made.number, content));
  return made;
}

/**
 * A memfd that nobody can change any more, not even root: the executables that run beside an
 * image's code come from such files. They may be executed but not read: who becomes such a program without
 * a capability to read everything is not dumpable (would_dump in fs/exec.c), so that no other process of
 * the same user may trace it or look into it.
 */
export function sealedMemfd(name: string, content: Uint8Array): Fd {
  const MFD_ALLOW_SEALING = 2;
  const F_ADD_SEALS = 1033;
  // F_SEAL_SEAL, SHRINK, GROW, WRITE and EXEC of linux/fcntl.h: the last keeps it executable, whoever owns it.
  const SEALS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20;
  const made = memfd(name, content, MFD_ALLOW_SEALING);
  orClosed(made, () => {
    syscall("fchmod", made.number, 0o111);
    syscall("fcntl", made.number, F_ADD_SEALS, SEALS);
  });
  return made;
}

/** What `work` answers; when it fails, the descriptor is closed. */
export function orClosed<T>(fd: Fd, work: () => T): T {
  try {
    return work();
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** Writes all of `bytes`, however many calls that takes. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(syscall("write", fd, rest, rest.length));
}

/** Sets or clears O_NONBLOCK. */
export function setNonBlocking(fd: number, nonBlocking: boolean): void {
  const flags = syscall("fcntl", fd, F_GETFL, 0);
  syscall("fcntl", fd, F_SETFL, nonBlocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/** True when the descriptor refers to something that still exists (fstat succeeds). */
export function isOpen(fd: number): boolean {
  return trySyscall("newfstatat", fd, "", new Uint8Array(144), AT_EMPTY_PATH) === 0;
}

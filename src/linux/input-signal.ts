// SPDX-License-Identifier: Apache-2.0
import { F_GETFL, F_SETFD, F_SETFL, F_SETOWN, FD_CLOEXEC, O_ASYNC, O_NONBLOCK } from "./abi/fcntl.ts";
import type { Fd } from "./fd.ts";
import { syscall, trySyscall } from "./syscall.ts";

const looks = new Set<() => void>();
let isInstalled = false;

/** A descriptor that raises SIGIO when it has something; disposing ends that, and leaves the descriptor open. */
export interface InputSignal extends Disposable {
  /** From now on. What came before raises nothing: it is looked for afterwards. */
  arm(): void;
  /** No more, for as long as it is looked at anyway: a busy writer would raise one with each write. */
  disarm(): void;
}

/**
 * Calls `look` whenever an armed descriptor, perhaps another one, has something, by SIGIO (fcntl(2), F_SETOWN and
 * O_ASYNC), which costs nothing while there is nothing. The descriptor is made non-blocking.
 */
export function inputSignal({ number }: Fd, look: () => void): InputSignal {
  // Never taken back: SIGIO ends a process by default.
  if (!isInstalled) {
    process.on("SIGIO", () => {
      for (const each of looks) each();
    });
  }
  isInstalled = true;
  syscall("fcntl", number, F_SETOWN, process.pid);
  const silent = (syscall("fcntl", number, F_GETFL, 0) & ~O_ASYNC) | O_NONBLOCK;
  syscall("fcntl", number, F_SETFL, silent);
  return {
    arm() {
      looks.add(look);
      syscall("fcntl", number, F_SETFL, silent | O_ASYNC);
    },
    disarm() {
      // The flag is the open file's, which others may still have.
      if (looks.delete(look)) trySyscall("fcntl", number, F_SETFL, silent);
    },
    [Symbol.dispose]() {
      this.disarm();
    },
  };
}

/** The same for a socket, armed for good and made close-on-exec; `look` takes until there is no more. */
export function watchInput(socket: Fd, look: () => void): Disposable {
  syscall("fcntl", socket.number, F_SETFD, FD_CLOEXEC);
  const signal = inputSignal(socket, look);
  signal.arm();
  // What came before.
  setImmediate(() => looks.has(look) && look());
  return signal;
}

// SPDX-License-Identifier: Apache-2.0
import { F_GETFL, F_SETFD, F_SETFL, F_SETOWN, FD_CLOEXEC, O_ASYNC } from "./abi/fcntl.ts";
import { type Fd, setNonBlocking } from "./fd.ts";
import { syscall, trySyscall } from "./syscall.ts";

const looks = new Set<() => void>();
let isInstalled = false;

/**
 * Calls `look` whenever a socket may have something, by SIGIO (fcntl(2), F_SETOWN and O_ASYNC), which costs nothing
 * while there is nothing. The socket is made close-on-exec and non-blocking; `look` takes until there is no more.
 * Disposing ends the calls and leaves the socket open.
 */
export function watchInput({ number }: Fd, look: () => void): Disposable {
  // Never taken back: SIGIO ends a process by default.
  if (!isInstalled) {
    process.on("SIGIO", () => {
      for (const each of looks) each();
    });
  }
  isInstalled = true;
  syscall("fcntl", number, F_SETFD, FD_CLOEXEC);
  setNonBlocking(number, true);
  syscall("fcntl", number, F_SETOWN, process.pid);
  const flags = syscall("fcntl", number, F_GETFL, 0);
  syscall("fcntl", number, F_SETFL, flags | O_ASYNC);
  looks.add(look);
  // What came before.
  setImmediate(() => looks.has(look) && look());
  return {
    [Symbol.dispose]() {
      looks.delete(look);
      // The flag is the socket's, which others may still have.
      trySyscall("fcntl", number, F_SETFL, flags & ~O_ASYNC);
    },
  };
}

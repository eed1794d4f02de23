// SPDX-License-Identifier: Apache-2.0
import { F_GETFL, F_SETFL, O_ASYNC, O_NONBLOCK } from "./abi/fcntl.ts";
import type { Fd } from "./fd.ts";
import { ReadyWatch } from "./ready-watch.ts";
import { syscall, trySyscall } from "./syscall.ts";

let watched: ReadyWatch | undefined;

/**
 * Calls `look` whenever a pipe has something or has ended, by SIGIO. A reader of the runtime's own keeps a quarter of a
 * megabyte for each pipe, this nothing. `look` takes until there is no more and does not throw; it is called once more
 * soon, for what came before. To be disposed of before the pipe is closed.
 */
export function watchPipe({ number }: Fd, look: () => void): Disposable {
  watched ??= new ReadyWatch();
  const watch = watched.add(number, look);
  const flags = syscall("fcntl", number, F_GETFL, 0) | O_NONBLOCK;
  syscall("fcntl", number, F_SETFL, flags | O_ASYNC);
  watched.scanSoon();
  let isOver = false;
  return {
    [Symbol.dispose]() {
      if (isOver) return;
      isOver = true;
      watch[Symbol.dispose]();
      trySyscall("fcntl", number, F_SETFL, flags & ~O_ASYNC);
    },
  };
}

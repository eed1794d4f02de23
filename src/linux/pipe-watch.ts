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
export class PipeWatch implements Disposable {
  readonly #fd: number;
  readonly #flags: number;
  readonly #token: number;
  #isOver = false;

  constructor({ number }: Fd, look: () => void) {
    watched ??= new ReadyWatch();
    this.#fd = number;
    this.#token = watched.add(number, look);
    this.#flags = syscall("fcntl", number, F_GETFL, 0) | O_NONBLOCK;
    syscall("fcntl", number, F_SETFL, this.#flags | O_ASYNC);
    watched.scanSoon();
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    watched?.delete(this.#token, this.#fd);
    trySyscall("fcntl", this.#fd, F_SETFL, this.#flags & ~O_ASYNC);
  }
}

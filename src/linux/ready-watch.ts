// SPDX-License-Identifier: Apache-2.0
import { F_SETOWN } from "./abi/fcntl.ts";
import { Epoll } from "./epoll.ts";
import { syscall } from "./syscall.ts";

/** More may be ready than one look tells, and busy ones are for as long as nobody has emptied them. */
const NEXT_LOOK_MS = 1;

/**
 * Many descriptors that raise SIGIO while they are armed (fcntl(2), O_ASYNC), which is their users' to do; an epoll
 * descriptor says which of them it was. It is there for as long as the process.
 */
export class ReadyWatch {
  readonly #epoll = new Epoll();
  readonly #looks = new Map<number, () => void>();
  #nextToken = 1;
  #isScanDue = false;

  constructor() {
    // Before the first descriptor is armed, and never taken back: SIGIO ends a process by default.
    process.on("SIGIO", () => this.scanSoon());
  }

  /**
   * Calls `look`, which does not throw, whenever SIGIO was raised and `fd` has something or has ended. It throws where the
   * descriptor cannot be watched. Answers a token, with which it is to be deleted before that is closed.
   */
  add(fd: number, look: () => void): number {
    const token = this.#nextToken++;
    this.#epoll.add(fd, token);
    syscall("fcntl", fd, F_SETOWN, process.pid);
    this.#looks.set(token, look);
    return token;
  }

  delete(token: number, fd: number): void {
    if (this.#looks.delete(token)) this.#epoll.delete(fd);
  }

  /** As if SIGIO had been raised: for what came before a descriptor was armed. */
  scanSoon(): void {
    if (this.#isScanDue) return;
    this.#isScanDue = true;
    setImmediate(() => this.#scan());
  }

  #scan(): void {
    this.#isScanDue = false;
    if (this.#looks.size === 0) return;
    const { tokens, isMore } = this.#epoll.ready();
    for (const token of tokens) this.#looks.get(token)?.();
    if (isMore) setTimeout(() => this.scanSoon(), NEXT_LOOK_MS);
  }
}

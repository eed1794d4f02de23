// SPDX-License-Identifier: Apache-2.0
import { F_GETFL, F_SETFL, F_SETOWN, O_ASYNC, O_NONBLOCK } from "./abi/fcntl.ts";
import { Epoll } from "./epoll.ts";
import type { Fd } from "./fd.ts";
import { syscall, trySyscall } from "./syscall.ts";

const looks = new Map<number, () => void>();
let epoll: Epoll | undefined;
let nextToken = 1;
let isScanDue = false;

/**
 * Calls `look` whenever a pipe has something or has ended, by SIGIO (fcntl(2), F_SETOWN and O_ASYNC); an epoll
 * descriptor says which of many it was. A reader of the runtime's own keeps a quarter of a megabyte for each pipe, this
 * nothing. `look` takes until there is no more and does not throw; it is called once more soon, for what came before.
 * To be disposed of before the pipe is closed.
 */
export function watchPipe({ number }: Fd, look: () => void): Disposable {
  epoll ??= startEpoll();
  const token = nextToken++;
  epoll.add(number, token);
  looks.set(token, look);
  syscall("fcntl", number, F_SETOWN, process.pid);
  const flags = syscall("fcntl", number, F_GETFL, 0) | O_NONBLOCK;
  syscall("fcntl", number, F_SETFL, flags | O_ASYNC);
  scanSoon();
  return {
    [Symbol.dispose]() {
      if (!looks.delete(token)) return;
      epoll?.delete(number);
      trySyscall("fcntl", number, F_SETFL, flags & ~O_ASYNC);
    },
  };
}

function startEpoll(): Epoll {
  // Never taken back: SIGIO ends a process by default.
  process.on("SIGIO", scanSoon);
  return new Epoll();
}

function scanSoon(): void {
  if (isScanDue) return;
  isScanDue = true;
  setImmediate(scan);
}

function scan(): void {
  isScanDue = false;
  if (epoll === undefined || looks.size === 0) return;
  const { tokens, isMore } = epoll.ready();
  for (const token of tokens) looks.get(token)?.();
  // More were ready than fit: they are found by the next look.
  if (isMore) scanSoon();
}

// SPDX-License-Identifier: Apache-2.0
import type { Fd } from "../linux/fd.ts";
import { passedFd } from "./monitor.ts";

/** The descriptors that go with one launch, and the numbers under which the monitor will have them. */
export interface PassedFds extends Disposable {
  /** Takes over `fd`, which is closed with the collection; answers it, for a program that may pass it. */
  own(fd: Fd): Fd;
  /** Takes over `fd` and passes it; answers its number in the monitor. */
  add(fd: Fd): number;
  readonly fds: readonly Fd[];
}

export function newPassedFds(): PassedFds {
  const fds: Fd[] = [];
  const owned: Fd[] = [];
  return {
    fds,
    own(fd) {
      owned.push(fd);
      return fd;
    },
    add(fd) {
      fds.push(fd);
      return passedFd(fds.length - 1);
    },
    [Symbol.dispose]() {
      for (const fd of [...owned, ...fds]) fd.close();
    },
  };
}

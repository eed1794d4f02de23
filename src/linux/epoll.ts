// SPDX-License-Identifier: Apache-2.0
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_EVENT,
  EPOLL_EVENT_BYTES,
  EPOLLIN,
} from "./abi/epoll.ts";
import { Fd } from "./fd.ts";
import { syscall, trySyscall } from "./syscall.ts";

const MAX_EVENTS = 256;

/** Many descriptors, each under a number, of which one look tells those that have something or have ended (epoll(7)). */
export class Epoll {
  readonly #epoll = new Fd(syscall("epoll_create1", EPOLL_CLOEXEC));
  readonly #events = new Uint8Array(EPOLL_EVENT_BYTES * MAX_EVENTS);

  /** It throws where the descriptor cannot be watched. */
  add(fd: number, token: number): void {
    const event = new Uint8Array(EPOLL_EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(EPOLL_EVENT.events, EPOLLIN, true);
    view.setBigUint64(EPOLL_EVENT.data, BigInt(token), true);
    syscall("epoll_ctl", this.#epoll.number, EPOLL_CTL_ADD, fd, event);
  }

  /** Before the descriptor is closed. */
  delete(fd: number): void {
    trySyscall("epoll_ctl", this.#epoll.number, EPOLL_CTL_DEL, fd, null);
  }

  /** The numbers of those that are ready now; there may be more than fit. */
  ready(): { readonly tokens: readonly number[]; readonly isMore: boolean } {
    const count = trySyscall("epoll_pwait", this.#epoll.number, this.#events, MAX_EVENTS, 0, null, 0);
    const view = new DataView(this.#events.buffer);
    const tokens: number[] = [];
    for (let index = 0; index < count; index++)
      tokens.push(Number(view.getBigUint64(index * EPOLL_EVENT_BYTES + EPOLL_EVENT.data, true)));
    return { tokens, isMore: count === MAX_EVENTS };
  }
}
